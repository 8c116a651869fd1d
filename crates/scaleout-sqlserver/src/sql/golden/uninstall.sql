-- scaleout-sqlserver: removal of everything.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- The doorbell alone. Dropping a service ends its conversations; nodes go on polling. Texts, because there are servers without
-- Service Broker that refuse to read on where they see its statements.
DROP PROCEDURE IF EXISTS [scaleout].ring, [scaleout].wait, [scaleout].arm, [scaleout].register, [scaleout].unregister,
    [scaleout].collect, [scaleout].janitor, [scaleout].doorbell_health;
IF OBJECT_ID(N'[scaleout].listeners', N'U') IS NOT NULL
    EXEC (N'DELETE FROM [scaleout].listeners');
IF EXISTS (SELECT 1 FROM sys.objects WHERE schema_id = SCHEMA_ID(N'scaleout') AND name = N'ears' AND type = 'SQ')
BEGIN
    IF EXISTS (SELECT 1 FROM sys.services WHERE name = N'scaleout/scaleout/ear') EXEC (N'DROP SERVICE [scaleout/scaleout/ear]');
    EXEC (N'DROP QUEUE [scaleout].ears');
END;
IF EXISTS (SELECT 1 FROM sys.objects WHERE schema_id = SCHEMA_ID(N'scaleout') AND name = N'bells' AND type = 'SQ')
BEGIN
    IF EXISTS (SELECT 1 FROM sys.services WHERE name = N'scaleout/scaleout/bell') EXEC (N'DROP SERVICE [scaleout/scaleout/bell]');
    EXEC (N'DROP QUEUE [scaleout].bells');
END;
GO
-- Everything of ours, messages included. Run uninstall_doorbell.sql first where the doorbell is installed. The schema goes with it,
-- unless somebody else has something in it, or it is dbo, which no database is without.
-- An owner of its own (owner.sql) is dropped by hand afterwards.
DROP PROCEDURE IF EXISTS [scaleout].positions, [scaleout].[read], [scaleout].held, [scaleout].renew, [scaleout].open_epoch;
DROP PROCEDURE IF EXISTS [scaleout].publish_0, [scaleout].read_0, [scaleout].trim_0;
DROP TABLE IF EXISTS [scaleout].messages_0;
DROP PROCEDURE IF EXISTS [scaleout].publish_1, [scaleout].read_1, [scaleout].trim_1;
DROP TABLE IF EXISTS [scaleout].messages_1;
DROP FUNCTION IF EXISTS [scaleout].store_identity;
DROP TABLE IF EXISTS [scaleout].listeners, [scaleout].senders, [scaleout].epochs, [scaleout].streams, [scaleout].layout;
IF SCHEMA_ID(N'scaleout') IS NOT NULL AND N'scaleout' <> N'dbo'
    AND NOT EXISTS (SELECT 1 FROM sys.objects WHERE schema_id = SCHEMA_ID(N'scaleout'))
    AND NOT EXISTS (SELECT 1 FROM sys.types WHERE schema_id = SCHEMA_ID(N'scaleout'))
    AND NOT EXISTS (SELECT 1 FROM sys.xml_schema_collections WHERE schema_id = SCHEMA_ID(N'scaleout'))
    EXEC (N'DROP SCHEMA [scaleout]');
GO
