-- Our services, and the ends of conversations of each that are not closed: (name, ends). Not for servers without Service Broker.
SELECT s.name, (SELECT COUNT(*) FROM sys.conversation_endpoints AS e WHERE e.service_id = s.service_id AND e.state <> N'CD')
FROM sys.services AS s
WHERE s.name IN (N'$(ear_service_text)', N'$(bell_service_text)')
ORDER BY s.name;
