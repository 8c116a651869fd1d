-- What the user may do: (on what, permission, may); "may" is NULL for a schema that is not there, or that the user does not see. That is
-- said here, because Babelfish has 0 for it.
SELECT p.class, p.name,
    CASE
        WHEN p.class = N'SCHEMA' AND SCHEMA_ID(N'$(schema_text)') IS NULL THEN NULL
        ELSE HAS_PERMS_BY_NAME(CASE p.class WHEN N'SCHEMA' THEN N'$(schema_in_text)' ELSE QUOTENAME(DB_NAME()) END, p.class, p.name)
    END
FROM (VALUES
    (N'DATABASE', N'CREATE SCHEMA'), (N'DATABASE', N'CREATE TABLE'), (N'DATABASE', N'CREATE PROCEDURE'),
    (N'DATABASE', N'CREATE FUNCTION'), (N'DATABASE', N'CREATE QUEUE'), (N'DATABASE', N'CREATE SERVICE'), (N'DATABASE', N'ALTER'),
    (N'SCHEMA', N'EXECUTE'), (N'SCHEMA', N'ALTER'), (N'SCHEMA', N'SELECT'), (N'SCHEMA', N'INSERT'), (N'SCHEMA', N'UPDATE')
) AS p (class, name);
