-- In the script for DBAs: ends it where the objects belong to another app, have another number of tables or were made by a newer version.
-- A node makes these comparisons itself, and names both sides.
IF EXISTS (SELECT 1 FROM $(schema).layout WHERE CAST(app AS varbinary(128)) <> CAST(N'$(app_text)' AS varbinary(128)))
    THROW 50021, N'schema $(schema_text) belongs to another app', 1;
IF EXISTS (SELECT 1 FROM $(schema).layout WHERE table_count <> $(table_count))
    THROW 50022, N'schema $(schema_text) has another number of message tables than $(table_count)', 1;
IF EXISTS (SELECT 1 FROM $(schema).layout WHERE schema_version > $(schema_version))
    THROW 50023, N'schema $(schema_text) was made by a newer version than $(schema_version)', 1;
