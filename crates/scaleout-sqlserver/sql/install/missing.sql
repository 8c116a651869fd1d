-- What is not there, or may not be executed: (name, is_there, who asks). A table is missed only by those who may see tables.
SELECT o.name, CASE WHEN o.id IS NULL THEN 0 ELSE 1 END, USER_NAME()
FROM (
    SELECT n.name, n.type, OBJECT_ID(N'$(schema_in_text).' + n.name, n.type) AS id
    FROM (VALUES
        -- $(each stream)
        (N'messages_$(stream)', N'U'), (N'publish_$(stream)', N'P'), (N'read_$(stream)', N'P'), (N'trim_$(stream)', N'P'),
        -- $(end)
        (N'streams', N'U'), (N'epochs', N'U'), (N'senders', N'U'), (N'listeners', N'U'),
        (N'positions', N'P'), (N'read', N'P'), (N'held', N'P'), (N'renew', N'P'), (N'open_epoch', N'P')
    ) AS n (name, type)
) AS o
WHERE (o.type = N'P' AND o.id IS NULL)
    OR (o.type = N'P' AND HAS_PERMS_BY_NAME(N'$(schema_in_text).' + o.name, N'OBJECT', N'EXECUTE') = 0)
    OR (o.type = N'U' AND o.id IS NULL AND OBJECT_ID(N'$(schema_in_text).layout', N'U') IS NOT NULL);
