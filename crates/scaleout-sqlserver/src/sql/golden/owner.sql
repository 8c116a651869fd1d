-- scaleout-sqlserver: an owner of its own.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- Before core/, by a DBA: a schema whose owner is nobody who can log in. EXECUTE AS OWNER then means "as someone who owns these
-- objects and nothing else", not "as dbo", and a restored database whose owner is unknown on the new server does
-- not break it (error 15517 strikes modules that run as dbo).
IF DATABASE_PRINCIPAL_ID(N'somebody') IS NULL
    CREATE USER [somebody] WITHOUT LOGIN;
IF SCHEMA_ID(N'scaleout') IS NULL
    EXEC (N'CREATE SCHEMA [scaleout] AUTHORIZATION [somebody]');
GO
