-- What is in the schema, whoever made it, as far as the user sees it: (name, type), of objects, and then of what else keeps a schema from
-- being dropped.
SELECT o.name, CAST(RTRIM(o.type) AS nvarchar(2))
FROM sys.objects AS o
WHERE o.schema_id = SCHEMA_ID(N'$(schema_text)') AND o.parent_object_id = 0
ORDER BY o.name;
SELECT t.name, N'TY' FROM sys.types AS t WHERE t.schema_id = SCHEMA_ID(N'$(schema_text)');
SELECT x.name, N'XC' FROM sys.xml_schema_collections AS x WHERE x.schema_id = SCHEMA_ID(N'$(schema_text)');
