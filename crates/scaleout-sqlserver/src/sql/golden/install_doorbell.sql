-- scaleout-sqlserver: the doorbell, by Service Broker.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- Opens the installation: one transaction, one installer at a time. Every later file is a batch of its own on the same connection,
-- and commit.sql ends it. A connection that dies on the way rolls everything back and frees the lock.
SET ANSI_NULLS ON;
SET ANSI_PADDING ON;
SET ANSI_WARNINGS ON;
SET QUOTED_IDENTIFIER ON;
SET XACT_ABORT ON;
SET NOCOUNT ON;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
IF @@TRANCOUNT > 0 THROW 50001, N'the installation must not run inside a transaction', 1;
BEGIN TRANSACTION;
DECLARE @granted int;
EXEC @granted = sp_getapplock @Resource = N'scaleout:install:scaleout', @LockMode = N'Exclusive',
    @LockOwner = N'Transaction', @LockTimeout = 60000;
IF @granted < 0
BEGIN
    ROLLBACK TRANSACTION;
    THROW 50020, N'another node is installing schema scaleout', 1;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Two queues and two services for the whole app, whatever the number of nodes; nothing is created at run time.
-- ears: where nodes wait, each for its own conversation. bells: what comes back to the other ends.
-- Services belong to the database, not to a schema: their names carry it. Contract and message type are the built-in ones.
IF OBJECT_ID(N'[scaleout].ears', N'SQ') IS NULL
    CREATE QUEUE [scaleout].ears WITH STATUS = ON, RETENTION = OFF, POISON_MESSAGE_HANDLING (STATUS = OFF);
IF OBJECT_ID(N'[scaleout].bells', N'SQ') IS NULL
    CREATE QUEUE [scaleout].bells WITH STATUS = ON, RETENTION = OFF, POISON_MESSAGE_HANDLING (STATUS = OFF);
IF NOT EXISTS (SELECT 1 FROM sys.services WHERE name = N'scaleout/scaleout/ear')
    CREATE SERVICE [scaleout/scaleout/ear] ON QUEUE [scaleout].ears;
IF NOT EXISTS (SELECT 1 FROM sys.services WHERE name = N'scaleout/scaleout/bell')
    CREATE SERVICE [scaleout/scaleout/bell] ON QUEUE [scaleout].bells ([DEFAULT]);
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The procedures of the doorbell, to be made anew; its queues, services and conversations stay.
DROP PROCEDURE IF EXISTS [scaleout].ring, [scaleout].wait, [scaleout].arm, [scaleout].register, [scaleout].unregister,
    [scaleout].collect, [scaleout].janitor, [scaleout].doorbell_health;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Empties "bells": a hello (body = listener id) pairs a listener with the conversation end to ring it by; the end of
-- the other side is answered with the end of this one. Whoever comes here does it for all. Autocommit: a message that was
-- received never comes back, so nothing in the queue can fail again and again.
CREATE PROCEDURE [scaleout].collect
    @wait_ms int
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT OFF;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @bell uniqueidentifier, @type sysname, @body varbinary(max), @got int, @paired int;
    SET @got = 1;
    WHILE @got > 0
    BEGIN
        WAITFOR (
            RECEIVE TOP (1) @bell = conversation_handle, @type = message_type_name, @body = message_body
            FROM [scaleout].bells
        ), TIMEOUT @wait_ms;
        SET @got = @@ROWCOUNT;
        IF @got > 0
        BEGIN
            SET @paired = 0;
            IF @type = N'DEFAULT'
            BEGIN
                UPDATE [scaleout].listeners SET bell = @bell WHERE listener = CAST(CAST(@body AS binary(16)) AS uniqueidentifier);
                SET @paired = @@ROWCOUNT;
            END;
            IF @paired = 0
            BEGIN
                BEGIN TRY
                    END CONVERSATION @bell;
                END TRY
                BEGIN CATCH
                    IF ERROR_NUMBER() NOT IN (8426, 8429) THROW; -- no such conversation, not in a state for it: it is over
                END CATCH;
            END;
        END;
        SET @wait_ms = 1;
    END;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Takes a node out: both ends of its conversation (the ring's end first), then its row, so that whoever is interrupted here leaves a
-- row for the janitor and no endpoint without one. Unknown: no effect.
CREATE PROCEDURE [scaleout].unregister
    @listener uniqueidentifier
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT OFF;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @bell uniqueidentifier, @ear uniqueidentifier;
    SELECT @bell = bell, @ear = ear FROM [scaleout].listeners WHERE listener = @listener;
    IF @bell IS NOT NULL
    BEGIN
        BEGIN TRY
            END CONVERSATION @bell;
        END TRY
        BEGIN CATCH
            IF ERROR_NUMBER() NOT IN (8426, 8429) THROW;    -- no such conversation, not in a state for it: it is over
        END CATCH;
    END;
    IF @ear IS NOT NULL
    BEGIN
        BEGIN TRY
            END CONVERSATION @ear;
        END TRY
        BEGIN CATCH
            IF ERROR_NUMBER() NOT IN (8426, 8429) THROW;
        END CATCH;
    END;
    -- The conversation is named too: the node may have registered again meanwhile.
    DELETE FROM [scaleout].listeners WHERE listener = @listener AND ear = @ear;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Makes a node a listener: opens its conversation and gets it paired. Call again with the same id to renew (before
-- the lifetime is over, or when arm says 50012). Result: (ready bit).
CREATE PROCEDURE [scaleout].register
    @listener uniqueidentifier,
    @label nvarchar(128),
    @lifetime_seconds int
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'register must not run inside a transaction', 1;
    DECLARE @ear uniqueidentifier, @hello varbinary(16), @tries int;
    EXEC [scaleout].unregister @listener;
    SET @hello = CAST(@listener AS binary(16));
    BEGIN TRANSACTION;
    BEGIN DIALOG CONVERSATION @ear
        FROM SERVICE [scaleout/scaleout/ear] TO SERVICE N'scaleout/scaleout/bell', N'CURRENT DATABASE'
        ON CONTRACT [DEFAULT] WITH LIFETIME = @lifetime_seconds, ENCRYPTION = OFF;
    INSERT INTO [scaleout].listeners (listener, label, armed, streams, ear, bell, seen_at)
    VALUES (@listener, @label, 0, NULL, @ear, NULL, SYSUTCDATETIME());
    SEND ON CONVERSATION @ear MESSAGE TYPE [DEFAULT] (@hello);
    COMMIT TRANSACTION;
    -- Short waits: where many register at once, another node may collect this one's hello.
    SET @tries = 20;
    WHILE @tries > 0 AND EXISTS (SELECT 1 FROM [scaleout].listeners WHERE listener = @listener AND bell IS NULL)
    BEGIN
        EXEC [scaleout].collect 100;
        SET @tries = @tries - 1;
    END;
    SELECT CAST(COUNT(*) AS bit) FROM [scaleout].listeners WHERE listener = @listener AND bell IS NOT NULL;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- "From now on, ring me once." Renews the lease too. First result: (is_broker_enabled); then the results of "positions",
-- read after the arming has committed: a node that finds nothing new in them may wait, whatever was published meanwhile rings.
-- 50012: not (or no longer) registered.
CREATE PROCEDURE [scaleout].arm
    @listener uniqueidentifier,
    @streams varbinary(128)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'arm must not run inside a transaction', 1;
    UPDATE [scaleout].listeners SET armed = 1, streams = @streams, seen_at = SYSUTCDATETIME()
    WHERE listener = @listener AND bell IS NOT NULL;
    IF @@ROWCOUNT = 0 THROW 50012, N'not registered', 1;
    SELECT is_broker_enabled FROM sys.databases WHERE name = DB_NAME();
    EXEC [scaleout].positions;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Waits until the doorbell rings. Result: 0 nothing within @timeout_ms, 1 rung, 2 the conversation is over: register again.
-- Renews the lease, because a node that has much to read does not arm. Autocommit: a doorbell taken is gone, and a failure
-- never rolls a RECEIVE back.
CREATE PROCEDURE [scaleout].wait
    @listener uniqueidentifier,
    @timeout_ms int
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'wait must not run inside a transaction', 1;
    DECLARE @ear uniqueidentifier, @over bit;
    DECLARE @rings TABLE (type sysname NOT NULL);
    SET @over = 0;
    UPDATE [scaleout].listeners SET seen_at = SYSUTCDATETIME() WHERE listener = @listener;
    SELECT @ear = ear FROM [scaleout].listeners WHERE listener = @listener;
    IF @ear IS NULL THROW 50012, N'not registered', 1;
    BEGIN TRY
        WAITFOR (
            RECEIVE message_type_name FROM [scaleout].ears INTO @rings WHERE conversation_handle = @ear
        ), TIMEOUT @timeout_ms;
    END TRY
    BEGIN CATCH
        IF ERROR_NUMBER() NOT IN (8426, 8429) THROW;        -- no such conversation, not in a state for it: it is over
        SET @over = 1;
    END CATCH;
    IF @over = 1 OR EXISTS (SELECT 1 FROM @rings WHERE type <> N'DEFAULT')
    BEGIN
        EXEC [scaleout].unregister @listener;
        SELECT 2;
        RETURN;
    END;
    SELECT CASE WHEN EXISTS (SELECT 1 FROM @rings) THEN 1 ELSE 0 END;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Rings every armed listener that wants @stream, and disarms it: one message per waiting node however long the burst.
-- Called by publish after its commit, never inside its transaction. A listener whose conversation is broken loses its
-- bell (its next arm says 50012) and spoils nobody else's.
CREATE PROCEDURE [scaleout].ring
    @stream smallint
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT OFF;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @due TABLE (listener uniqueidentifier NOT NULL PRIMARY KEY, bell uniqueidentifier NOT NULL);
    DECLARE @listener uniqueidentifier, @bell uniqueidentifier;
    BEGIN TRANSACTION;
    UPDATE [scaleout].listeners
    SET armed = 0
    OUTPUT inserted.listener, inserted.bell INTO @due
    WHERE armed = 1 AND bell IS NOT NULL
        AND (streams IS NULL OR CAST(SUBSTRING(streams, @stream / 8 + 1, 1) AS int) & POWER(2, @stream % 8) <> 0);
    WHILE EXISTS (SELECT 1 FROM @due)
    BEGIN
        SELECT TOP (1) @listener = listener, @bell = bell FROM @due ORDER BY listener;
        DELETE FROM @due WHERE listener = @listener;
        BEGIN TRY
            SEND ON CONVERSATION @bell MESSAGE TYPE [DEFAULT] (0x01);
        END TRY
        BEGIN CATCH
            IF XACT_STATE() <> 1
            BEGIN
                -- All of them are armed again, and the next publish rings them: without this one, unless it was only in
                -- the way of others (deadlock, lock time-out) or the database is full.
                IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
                IF ERROR_NUMBER() NOT IN (1205, 1222, 1105, 9002)
                    UPDATE [scaleout].listeners SET bell = NULL WHERE listener = @listener AND bell = @bell;
                THROW;
            END;
            UPDATE [scaleout].listeners SET bell = NULL WHERE listener = @listener;
        END CATCH;
    END;
    COMMIT TRANSACTION;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Takes out listeners that have neither armed nor waited for @lease_seconds, and answers what came back. One node at a time;
-- any node may call it, now and then. Result: (removed int), -1 when another node is at it.
CREATE PROCEDURE [scaleout].janitor
    @lease_seconds int
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'janitor must not run inside a transaction', 1;
    DECLARE @granted int, @listener uniqueidentifier, @removed int, @cutoff datetime2(3);
    EXEC @granted = sp_getapplock @Resource = N'scaleout:janitor:scaleout', @LockMode = N'Exclusive',
        @LockOwner = N'Session', @LockTimeout = 0;
    IF @granted < 0
    BEGIN
        SELECT -1;
        RETURN;
    END;
    BEGIN TRY
        SET @removed = 0;
        SET @cutoff = DATEADD(second, -@lease_seconds, SYSUTCDATETIME());
        SET @listener = NULL;
        SELECT TOP (1) @listener = listener FROM [scaleout].listeners WHERE seen_at < @cutoff;
        WHILE @listener IS NOT NULL
        BEGIN
            EXEC [scaleout].unregister @listener;
            SET @removed = @removed + 1;
            SET @listener = NULL;
            SELECT TOP (1) @listener = listener FROM [scaleout].listeners WHERE seen_at < @cutoff;
        END;
        EXEC [scaleout].collect 1;
        EXEC sp_releaseapplock @Resource = N'scaleout:janitor:scaleout', @LockOwner = N'Session';
    END TRY
    BEGIN CATCH
        IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
        EXEC sp_releaseapplock @Resource = N'scaleout:janitor:scaleout', @LockOwner = N'Session';
        THROW;
    END CATCH;
    SELECT @removed;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- What health() tells of the doorbell: (is_broker_enabled, queues that are on [2 = fine], listeners, our conversation
-- ends not closed [2 per listener = fine], messages that cannot be delivered [0 = fine], why the oldest of them cannot).
CREATE PROCEDURE [scaleout].doorbell_health
WITH EXECUTE AS OWNER
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SELECT
        (SELECT is_broker_enabled FROM sys.databases WHERE name = DB_NAME()),
        (SELECT COUNT(*) FROM sys.service_queues WHERE schema_id = SCHEMA_ID(N'scaleout') AND name IN (N'ears', N'bells')
            AND is_receive_enabled = 1 AND is_enqueue_enabled = 1),
        (SELECT COUNT(*) FROM [scaleout].listeners),
        (SELECT COUNT(*) FROM sys.conversation_endpoints AS e JOIN sys.services AS s ON s.service_id = e.service_id
            WHERE s.name IN (N'scaleout/scaleout/ear', N'scaleout/scaleout/bell') AND e.state <> N'CD'),
        (SELECT COUNT(*) FROM sys.transmission_queue WHERE from_service_name IN (N'scaleout/scaleout/ear', N'scaleout/scaleout/bell')),
        (SELECT TOP (1) transmission_status FROM sys.transmission_queue
            WHERE from_service_name IN (N'scaleout/scaleout/ear', N'scaleout/scaleout/bell') ORDER BY enqueue_time);
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
COMMIT TRANSACTION;
GO
SET NOEXEC OFF;
GO
