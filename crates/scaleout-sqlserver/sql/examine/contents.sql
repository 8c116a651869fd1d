-- What is in the schema, whoever made it, as far as the user sees it: (name, type).
SELECT o.name, CAST(RTRIM(o.type) AS nvarchar(2))
FROM sys.objects AS o
WHERE o.schema_id = SCHEMA_ID(N'$(schema_text)') AND o.parent_object_id = 0
ORDER BY o.name;
