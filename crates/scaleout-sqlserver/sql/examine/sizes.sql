-- What the tables of the schema hold, as far as the user sees them: (name, rows, bytes). Apart from what there is, because there are
-- servers that do not tell how large it is.
SELECT o.name,
    (SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = o.object_id AND p.index_id IN (0, 1)),
    (
        SELECT SUM(a.total_pages) * 8192
        FROM sys.partitions AS p
        JOIN sys.allocation_units AS a ON a.container_id = CASE a.type WHEN 2 THEN p.partition_id ELSE p.hobt_id END
        WHERE p.object_id = o.object_id
    )
FROM sys.objects AS o
WHERE o.schema_id = SCHEMA_ID(N'$(schema_text)') AND o.type = 'U'
ORDER BY o.name;
