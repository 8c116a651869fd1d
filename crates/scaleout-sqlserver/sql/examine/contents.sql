-- What is in the schema, whoever made it, as far as the user sees it: (name, type, rows, bytes); the last two of tables alone.
SELECT o.name, CAST(RTRIM(o.type) AS nvarchar(2)),
    (SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = o.object_id AND p.index_id IN (0, 1)),
    (
        SELECT SUM(a.total_pages) * 8192
        FROM sys.partitions AS p
        JOIN sys.allocation_units AS a ON a.container_id = CASE a.type WHEN 2 THEN p.partition_id ELSE p.hobt_id END
        WHERE p.object_id = o.object_id
    )
FROM sys.objects AS o
WHERE o.schema_id = SCHEMA_ID(N'$(schema_text)') AND o.parent_object_id = 0
ORDER BY o.name;
