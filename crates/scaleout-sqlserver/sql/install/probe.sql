-- What is installed: (schema_version, compatible_from, app, table_count), or no row. A text that is built, because a table that is not
-- there must not fail the batch.
IF OBJECT_ID(N'$(schema_in_text).layout', N'U') IS NULL
    SELECT CAST(NULL AS int), CAST(NULL AS int), CAST(NULL AS nvarchar(64)), CAST(NULL AS int) WHERE 1 = 0;
ELSE
    EXEC (N'SELECT schema_version, compatible_from, app, table_count FROM $(schema_in_text).layout');
