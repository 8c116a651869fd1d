-- scaleout-sqlserver: tables and procedures.
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
-- The owner of the schema owns every object in it: that is what lets an account work that may only execute (ownership chaining).
IF SCHEMA_ID(N'scaleout') IS NULL
    EXEC (N'CREATE SCHEMA [scaleout]');
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- What all nodes of the app must agree on, and which history of the store this is: one row, written by the installer and
-- by open_epoch only, so that nothing queues on it.
IF OBJECT_ID(N'[scaleout].layout', N'U') IS NULL
    CREATE TABLE [scaleout].layout (
        only_row        tinyint       NOT NULL CONSTRAINT layout_pk PRIMARY KEY CLUSTERED CONSTRAINT layout_one CHECK (only_row = 1),
        schema_version  int           NOT NULL,                 -- of these objects
        compatible_from int           NOT NULL,                 -- the oldest nodes that can work with them
        app             nvarchar(64)  NOT NULL,                 -- whose messages these are
        table_count     int           NOT NULL,
        epoch           bigint        NOT NULL,                 -- microseconds since 1970 when this history began; only grows
        store           nvarchar(400) NOT NULL                  -- which database that was: see store_identity
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- One row per message table. A publisher holds its row from "take the next number" to the commit: commit order is the order
-- of numbers, they have no holes, and a publish that is rolled back gives its number back.
IF OBJECT_ID(N'[scaleout].streams', N'U') IS NULL
    CREATE TABLE [scaleout].streams (
        stream    smallint NOT NULL CONSTRAINT streams_pk PRIMARY KEY CLUSTERED,
        epoch     bigint   NOT NULL,                            -- that appends go to; others are refused
        first_seq bigint   NOT NULL,                            -- seq of the row that opened this epoch
        last_seq  bigint   NOT NULL,                            -- seq of the last row
        bytes     bigint   NOT NULL                             -- payload bytes up to the last row, of all times
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The histories of each stream that still have rows, and what each continues.
IF OBJECT_ID(N'[scaleout].epochs', N'U') IS NULL
    CREATE TABLE [scaleout].epochs (
        stream      smallint     NOT NULL,
        epoch       bigint       NOT NULL,
        first_seq   bigint       NOT NULL,                      -- seq of the row that opened it
        after_epoch bigint       NULL,                          -- last position of the history that it continues; NULL: nothing,
        after_id    bigint       NULL,                          -- or nobody knows
        opened_at   datetime2(3) NOT NULL,
        CONSTRAINT epochs_pk PRIMARY KEY CLUSTERED (stream, epoch)
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The last frame that each stream holds of each node, written by the transaction that appends the frame: what was sent
-- twice is found here, and what a restored database has forgotten.
IF OBJECT_ID(N'[scaleout].senders', N'U') IS NULL
    CREATE TABLE [scaleout].senders (
        stream      smallint     NOT NULL,
        node        binary(16)   NOT NULL,
        last_number bigint       NOT NULL,
        seen_at     datetime2(3) NOT NULL,                      -- renewed by renew while the node lives
        CONSTRAINT senders_pk PRIMARY KEY CLUSTERED (stream, node)
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- One row per node that waits for the doorbell; empty where Service Broker is not used. Written by register, collect, arm, wait,
-- ring and unregister; publish only looks, after its commit.
IF OBJECT_ID(N'[scaleout].listeners', N'U') IS NULL
    CREATE TABLE [scaleout].listeners (
        listener uniqueidentifier NOT NULL CONSTRAINT listeners_pk PRIMARY KEY CLUSTERED,
        label    nvarchar(128)    NOT NULL,                     -- for people: host and process
        armed    bit              NOT NULL,                     -- wants one doorbell
        streams  varbinary(128)   NULL,                         -- bit map of the streams it wants; NULL: all
        ear      uniqueidentifier NOT NULL,                     -- conversation end that the node waits on
        bell     uniqueidentifier NULL,                         -- conversation end that publishers send on; NULL: to be registered again
        seen_at  datetime2(3)     NOT NULL                      -- lease: renewed by arm and wait
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The truth: frames of stream 0, oldest first. One clustered index and nothing else: publish appends at its end, read seeks
-- in it, trim deletes at its beginning. The row with id 0 opens its epoch and carries nothing.
IF OBJECT_ID(N'[scaleout].messages_0', N'U') IS NULL
    CREATE TABLE [scaleout].messages_0 (
        seq     bigint         NOT NULL CONSTRAINT messages_0_pk PRIMARY KEY CLUSTERED,
        epoch   bigint         NOT NULL,
        id      bigint         NOT NULL,                        -- 0, 1, 2, ... in each epoch
        at      datetime2(7)   NOT NULL,                        -- with seq it names a row also across a restore
        bytes   bigint         NOT NULL,                        -- payload bytes up to this row, so that sizes are known without reading
        payload varbinary(max) NOT NULL
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The truth: frames of stream 1, oldest first. One clustered index and nothing else: publish appends at its end, read seeks
-- in it, trim deletes at its beginning. The row with id 0 opens its epoch and carries nothing.
IF OBJECT_ID(N'[scaleout].messages_1', N'U') IS NULL
    CREATE TABLE [scaleout].messages_1 (
        seq     bigint         NOT NULL CONSTRAINT messages_1_pk PRIMARY KEY CLUSTERED,
        epoch   bigint         NOT NULL,
        id      bigint         NOT NULL,                        -- 0, 1, 2, ... in each epoch
        at      datetime2(7)   NOT NULL,                        -- with seq it names a row also across a restore
        bytes   bigint         NOT NULL,                        -- payload bytes up to this row, so that sizes are known without reading
        payload varbinary(max) NOT NULL
    );
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- In the script for DBAs: ends it where the objects belong to another app, have another number of tables or were made by a newer version.
-- A node makes these comparisons itself, and names both sides.
IF EXISTS (SELECT 1 FROM [scaleout].layout WHERE CAST(app AS varbinary(128)) <> CAST(N'chat' AS varbinary(128)))
    THROW 50021, N'schema scaleout belongs to another app', 1;
IF EXISTS (SELECT 1 FROM [scaleout].layout WHERE table_count <> 2)
    THROW 50022, N'schema scaleout has another number of message tables than 2', 1;
IF EXISTS (SELECT 1 FROM [scaleout].layout WHERE schema_version > 1)
    THROW 50023, N'schema scaleout was made by a newer version than 1', 1;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Procedures are made anew with every installation, in its transaction: a call waits for the commit, and grants on the schema stay.
DROP PROCEDURE IF EXISTS [scaleout].positions, [scaleout].[read], [scaleout].held, [scaleout].renew, [scaleout].open_epoch;
DROP PROCEDURE IF EXISTS [scaleout].publish_0, [scaleout].read_0, [scaleout].trim_0;
DROP PROCEDURE IF EXISTS [scaleout].publish_1, [scaleout].read_1, [scaleout].trim_1;
DROP FUNCTION IF EXISTS [scaleout].store_identity;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Which database this is: it changes where another copy takes over, which may have forgotten rows (a restore, another replica of an
-- availability group, another server). Everybody may see the row of the database that they are connected to; it is found by
-- its name, because on Azure SQL Database DB_ID() is not what sys.databases calls it.
CREATE FUNCTION [scaleout].store_identity()
RETURNS nvarchar(400)
AS
BEGIN
    DECLARE @created datetime;
    SELECT @created = create_date FROM sys.databases WHERE name = DB_NAME();
    RETURN CONCAT(CAST(SERVERPROPERTY(N'ServerName') AS nvarchar(128)), N'/', DB_NAME(), N'/', CONVERT(nvarchar(30), @created, 126));
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Where the store stands; connecting and idle polling use this one call for all streams. A busy stream is polled with "read", which leaves
-- the rows of "streams" to the publishers. Three results:
--   (schema_version, compatible_from, app, table_count, epoch, same_store): same_store = 0 says that another copy of the database has
--       taken over since the epoch was opened, so that nothing may be appended before a new one is;
--   (stream, epoch, first_seq, last_seq), one row per stream;
--   (stream, epoch, first_seq, after_epoch, after_id), one row per stream and epoch, by stream and epoch.
-- Each result is of its own moment and none is older than the one before it: where an epoch begins meanwhile, the later
-- results know it already, and what holds for a stream is the epoch in its own row.
CREATE PROCEDURE [scaleout].positions
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @store nvarchar(400);
    SET @store = [scaleout].store_identity();
    SELECT schema_version, compatible_from, app, table_count, epoch, CASE WHEN store = @store THEN 1 ELSE 0 END FROM [scaleout].layout;
    SELECT stream, epoch, first_seq, last_seq FROM [scaleout].streams ORDER BY stream;
    SELECT stream, epoch, first_seq, after_epoch, after_id FROM [scaleout].epochs ORDER BY stream, epoch;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The last frame number that a stream holds of a node, 0 where there is none: (held).
CREATE PROCEDURE [scaleout].held
    @stream smallint,
    @node binary(16)
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @held bigint;
    SET @held = 0;
    SELECT @held = last_number FROM [scaleout].senders WHERE stream = @stream AND node = @node;
    SELECT @held;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Says that a node lives, so that what the streams hold of it is not forgotten, and drops nodes that nobody has renewed for
-- @keep_seconds. Result: (dropped). Called by every node now and then.
CREATE PROCEDURE [scaleout].renew
    @node binary(16),
    @keep_seconds int
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'renew must not run inside a transaction', 1;
    UPDATE [scaleout].senders SET seen_at = SYSUTCDATETIME() WHERE node = @node;
    DELETE FROM [scaleout].senders WHERE seen_at < DATEADD(second, -@keep_seconds, SYSUTCDATETIME());
    SELECT @@ROWCOUNT;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Begins a new history of all streams, because the store may have forgotten or replaced rows. Compare and set: of many callers that
-- name the same @old one opens it, for the others nothing happens. @seen is the greatest epoch that the caller knows of.
-- @after_known = 0 says that somebody may have appended since rows were lost, so that nobody can tell what the new history
-- continues: it holds nothing of any sender then, so that nodes append all that they still have, and those that were there before
-- report a gap. Called by nodes, and by a DBA after a restore that they cannot notice.
CREATE PROCEDURE [scaleout].open_epoch
    @old bigint,
    @seen bigint,
    @after_known bit
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'open_epoch must not run inside a transaction', 1;
    DECLARE @new bigint, @store nvarchar(400);
    SET @store = [scaleout].store_identity();
    SET @new = DATEDIFF_BIG(microsecond, '1970-01-01', SYSUTCDATETIME());
    IF @new <= @old SET @new = @old + 1;
    IF @new <= @seen SET @new = @seen + 1;

    BEGIN TRANSACTION;
    UPDATE [scaleout].layout SET epoch = @new, store = @store WHERE epoch = @old;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN;
    END;
    UPDATE [scaleout].streams SET last_seq = last_seq + 1;
    IF @after_known = 0 DELETE FROM [scaleout].senders;
    INSERT INTO [scaleout].epochs (stream, epoch, first_seq, after_epoch, after_id, opened_at)
    SELECT stream, @new, last_seq,
        CASE WHEN @after_known = 1 THEN epoch END, CASE WHEN @after_known = 1 THEN last_seq - 1 - first_seq END, SYSUTCDATETIME()
    FROM [scaleout].streams;
    UPDATE [scaleout].streams SET epoch = @new, first_seq = last_seq;
    INSERT INTO [scaleout].messages_0 (seq, epoch, id, at, bytes, payload)
    SELECT last_seq, epoch, 0, SYSUTCDATETIME(), bytes, 0x FROM [scaleout].streams WHERE stream = 0;
    INSERT INTO [scaleout].messages_1 (seq, epoch, id, at, bytes, payload)
    SELECT last_seq, epoch, 0, SYSUTCDATETIME(), bytes, 0x FROM [scaleout].streams WHERE stream = 1;
    COMMIT TRANSACTION;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Appends one frame to stream 0, once. Result: (outcome, seq, id, held, doorbell_error).
--   outcome 0  appended as (seq, id)
--           1  the stream holds frames of this node up to number "held" already: nothing added
--           2  the stream holds frames of this node up to "held" only, which is less than @after: nothing added
-- Order inside the transaction: row of the stream, row of the sender, the message. Nothing else is locked, so publishers cannot
-- deadlock. The doorbell is rung after the commit: the listeners are no part of what publishers wait for, and whoever
-- arms after this look at them sees the message.
CREATE PROCEDURE [scaleout].publish_0
    @epoch bigint,
    @node binary(16),
    @number bigint,
    @after bigint,
    @payload varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'publish must not run inside a transaction', 1;
    DECLARE @seq bigint, @first_seq bigint, @bytes bigint, @held bigint, @doorbell_error int;

    BEGIN TRANSACTION;
    UPDATE [scaleout].streams SET last_seq = last_seq + 1, bytes = bytes + DATALENGTH(@payload)
    WHERE stream = 0 AND epoch = @epoch;
    IF @@ROWCOUNT <> 1
    BEGIN
        ROLLBACK TRANSACTION;
        THROW 50010, N'the store has another epoch', 1;
    END;
    SELECT @seq = last_seq, @first_seq = first_seq, @bytes = bytes FROM [scaleout].streams WHERE stream = 0;
    SET @held = 0;
    SELECT @held = last_number FROM [scaleout].senders WHERE stream = 0 AND node = @node;
    IF @number <= @held OR @held < @after
    BEGIN
        ROLLBACK TRANSACTION;
        SELECT CASE WHEN @number <= @held THEN 1 ELSE 2 END, CAST(NULL AS bigint), CAST(NULL AS bigint), @held, CAST(NULL AS int);
        RETURN;
    END;
    UPDATE [scaleout].senders SET last_number = @number, seen_at = SYSUTCDATETIME()
    WHERE stream = 0 AND node = @node;
    IF @@ROWCOUNT = 0
        INSERT INTO [scaleout].senders (stream, node, last_number, seen_at)
        VALUES (0, @node, @number, SYSUTCDATETIME());
    INSERT INTO [scaleout].messages_0 (seq, epoch, id, at, bytes, payload)
    VALUES (@seq, @epoch, @seq - @first_seq, SYSUTCDATETIME(), @bytes, @payload);
    COMMIT TRANSACTION;

    IF EXISTS (SELECT 1 FROM [scaleout].listeners WHERE armed = 1)
    BEGIN
        BEGIN TRY
            EXEC [scaleout].ring 0;
        END TRY
        BEGIN CATCH
            IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
            SET @doorbell_error = ERROR_NUMBER();           -- the frame is in the store all the same
        END CATCH;
    END;
    SELECT 0, @seq, @seq - @first_seq, @number, @doorbell_error;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Appends one frame to stream 1, once. Result: (outcome, seq, id, held, doorbell_error).
--   outcome 0  appended as (seq, id)
--           1  the stream holds frames of this node up to number "held" already: nothing added
--           2  the stream holds frames of this node up to "held" only, which is less than @after: nothing added
-- Order inside the transaction: row of the stream, row of the sender, the message. Nothing else is locked, so publishers cannot
-- deadlock. The doorbell is rung after the commit: the listeners are no part of what publishers wait for, and whoever
-- arms after this look at them sees the message.
CREATE PROCEDURE [scaleout].publish_1
    @epoch bigint,
    @node binary(16),
    @number bigint,
    @after bigint,
    @payload varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'publish must not run inside a transaction', 1;
    DECLARE @seq bigint, @first_seq bigint, @bytes bigint, @held bigint, @doorbell_error int;

    BEGIN TRANSACTION;
    UPDATE [scaleout].streams SET last_seq = last_seq + 1, bytes = bytes + DATALENGTH(@payload)
    WHERE stream = 1 AND epoch = @epoch;
    IF @@ROWCOUNT <> 1
    BEGIN
        ROLLBACK TRANSACTION;
        THROW 50010, N'the store has another epoch', 1;
    END;
    SELECT @seq = last_seq, @first_seq = first_seq, @bytes = bytes FROM [scaleout].streams WHERE stream = 1;
    SET @held = 0;
    SELECT @held = last_number FROM [scaleout].senders WHERE stream = 1 AND node = @node;
    IF @number <= @held OR @held < @after
    BEGIN
        ROLLBACK TRANSACTION;
        SELECT CASE WHEN @number <= @held THEN 1 ELSE 2 END, CAST(NULL AS bigint), CAST(NULL AS bigint), @held, CAST(NULL AS int);
        RETURN;
    END;
    UPDATE [scaleout].senders SET last_number = @number, seen_at = SYSUTCDATETIME()
    WHERE stream = 1 AND node = @node;
    IF @@ROWCOUNT = 0
        INSERT INTO [scaleout].senders (stream, node, last_number, seen_at)
        VALUES (1, @node, @number, SYSUTCDATETIME());
    INSERT INTO [scaleout].messages_1 (seq, epoch, id, at, bytes, payload)
    VALUES (@seq, @epoch, @seq - @first_seq, SYSUTCDATETIME(), @bytes, @payload);
    COMMIT TRANSACTION;

    IF EXISTS (SELECT 1 FROM [scaleout].listeners WHERE armed = 1)
    BEGIN
        BEGIN TRY
            EXEC [scaleout].ring 1;
        END TRY
        BEGIN CATCH
            IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
            SET @doorbell_error = ERROR_NUMBER();           -- the frame is in the store all the same
        END CATCH;
    END;
    SELECT 0, @seq, @seq - @first_seq, @number, @doorbell_error;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The rows of stream 0 behind @after, in order: (stream, seq, epoch, id, after_epoch, after_id, at, payload); "at" is in
-- microseconds since 1970, "after_..." is what an epoch continues, in the row that opens it (id 0).
-- At most @max_rows rows and, after the first one, at most @max_bytes bytes. Right with and without row versioning: at
-- most one row of a stream is uncommitted and it is the last one, so what is seen has no hole. A first seq above @after + 1 means
-- that trim has been there.
CREATE PROCEDURE [scaleout].read_0
    @after bigint,
    @max_rows int,
    @max_bytes bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @limit bigint, @upto bigint;
    SELECT TOP (1) @limit = bytes + @max_bytes FROM [scaleout].messages_0 WHERE seq > @after ORDER BY seq;
    SELECT @upto = MAX(t.seq)
    FROM (
        SELECT TOP (@max_rows) seq, bytes
        FROM [scaleout].messages_0
        WHERE seq > @after
        ORDER BY seq
    ) AS t
    WHERE t.bytes <= @limit;
    -- TOP again, because the plan goes by it: few rows, in the order of the index, without a sort.
    SELECT TOP (@max_rows) CAST(0 AS smallint), m.seq, m.epoch, m.id, e.after_epoch, e.after_id,
        DATEDIFF_BIG(microsecond, '1970-01-01', m.at), m.payload
    FROM [scaleout].messages_0 AS m
    LEFT JOIN [scaleout].epochs AS e ON e.stream = 0 AND e.epoch = m.epoch AND m.id = 0
    WHERE m.seq > @after AND m.seq <= @upto
    ORDER BY m.seq;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The rows of stream 1 behind @after, in order: (stream, seq, epoch, id, after_epoch, after_id, at, payload); "at" is in
-- microseconds since 1970, "after_..." is what an epoch continues, in the row that opens it (id 0).
-- At most @max_rows rows and, after the first one, at most @max_bytes bytes. Right with and without row versioning: at
-- most one row of a stream is uncommitted and it is the last one, so what is seen has no hole. A first seq above @after + 1 means
-- that trim has been there.
CREATE PROCEDURE [scaleout].read_1
    @after bigint,
    @max_rows int,
    @max_bytes bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @limit bigint, @upto bigint;
    SELECT TOP (1) @limit = bytes + @max_bytes FROM [scaleout].messages_1 WHERE seq > @after ORDER BY seq;
    SELECT @upto = MAX(t.seq)
    FROM (
        SELECT TOP (@max_rows) seq, bytes
        FROM [scaleout].messages_1
        WHERE seq > @after
        ORDER BY seq
    ) AS t
    WHERE t.bytes <= @limit;
    -- TOP again, because the plan goes by it: few rows, in the order of the index, without a sort.
    SELECT TOP (@max_rows) CAST(1 AS smallint), m.seq, m.epoch, m.id, e.after_epoch, e.after_id,
        DATEDIFF_BIG(microsecond, '1970-01-01', m.at), m.payload
    FROM [scaleout].messages_1 AS m
    LEFT JOIN [scaleout].epochs AS e ON e.stream = 1 AND e.epoch = m.epoch AND m.id = 0
    WHERE m.seq > @after AND m.seq <= @upto
    ORDER BY m.seq;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Deletes what is beyond retention from stream 0, oldest first, in batches of @batch rows (one autocommit transaction each), at
-- most @max_batches of them. Result: (deleted, more). One node at a time: another one gets (-1, 0) at once. What is left is
-- always one unbroken range, and never nothing: the last row stays, so that readers see how far the stream has come.
CREATE PROCEDURE [scaleout].trim_0
    @keep_rows bigint,
    @keep_seconds int,
    @keep_bytes bigint,
    @batch int,
    @max_batches int
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'trim must not run inside a transaction', 1;
    DECLARE @granted int, @done bigint, @upto bigint, @last_seq bigint, @bytes bigint, @rows bigint, @deleted bigint,
        @cutoff datetime2(7), @oldest bigint;
    EXEC @granted = sp_getapplock @Resource = N'scaleout:trim:0:scaleout', @LockMode = N'Exclusive',
        @LockOwner = N'Session', @LockTimeout = 0;
    IF @granted < 0
    BEGIN
        SELECT CAST(-1 AS bigint), CAST(0 AS bit);
        RETURN;
    END;
    BEGIN TRY
        SET @cutoff = DATEADD(second, -@keep_seconds, SYSUTCDATETIME());
        SELECT @last_seq = last_seq, @bytes = bytes FROM [scaleout].streams WHERE stream = 0;
        SELECT @done = MIN(seq) - 1 FROM [scaleout].messages_0;
        SET @deleted = 0;
        SET @rows = 1;
        WHILE @rows > 0 AND @max_batches > 0
        BEGIN
            SET @upto = NULL;
            SELECT @upto = MAX(seq) FROM [scaleout].messages_0
            WHERE seq > @done AND seq <= @done + @batch AND seq < @last_seq
                AND (seq <= @last_seq - @keep_rows OR at < @cutoff OR bytes <= @bytes - @keep_bytes);
            DELETE FROM [scaleout].messages_0 WITH (ROWLOCK) WHERE seq > @done AND seq <= @upto;
            SET @rows = @@ROWCOUNT;
            SET @deleted = @deleted + @rows;
            SET @done = @upto;
            SET @max_batches = @max_batches - 1;
        END;
        IF @deleted > 0
        BEGIN
            SELECT TOP (1) @oldest = epoch FROM [scaleout].messages_0 ORDER BY seq;
            DELETE FROM [scaleout].epochs WHERE stream = 0 AND epoch < @oldest;
        END;
        EXEC sp_releaseapplock @Resource = N'scaleout:trim:0:scaleout', @LockOwner = N'Session';
    END TRY
    BEGIN CATCH
        IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
        EXEC sp_releaseapplock @Resource = N'scaleout:trim:0:scaleout', @LockOwner = N'Session';
        THROW;
    END CATCH;
    SELECT @deleted, CAST(CASE WHEN @rows > 0 THEN 1 ELSE 0 END AS bit);
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- Deletes what is beyond retention from stream 1, oldest first, in batches of @batch rows (one autocommit transaction each), at
-- most @max_batches of them. Result: (deleted, more). One node at a time: another one gets (-1, 0) at once. What is left is
-- always one unbroken range, and never nothing: the last row stays, so that readers see how far the stream has come.
CREATE PROCEDURE [scaleout].trim_1
    @keep_rows bigint,
    @keep_seconds int,
    @keep_bytes bigint,
    @batch int,
    @max_batches int
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'trim must not run inside a transaction', 1;
    DECLARE @granted int, @done bigint, @upto bigint, @last_seq bigint, @bytes bigint, @rows bigint, @deleted bigint,
        @cutoff datetime2(7), @oldest bigint;
    EXEC @granted = sp_getapplock @Resource = N'scaleout:trim:1:scaleout', @LockMode = N'Exclusive',
        @LockOwner = N'Session', @LockTimeout = 0;
    IF @granted < 0
    BEGIN
        SELECT CAST(-1 AS bigint), CAST(0 AS bit);
        RETURN;
    END;
    BEGIN TRY
        SET @cutoff = DATEADD(second, -@keep_seconds, SYSUTCDATETIME());
        SELECT @last_seq = last_seq, @bytes = bytes FROM [scaleout].streams WHERE stream = 1;
        SELECT @done = MIN(seq) - 1 FROM [scaleout].messages_1;
        SET @deleted = 0;
        SET @rows = 1;
        WHILE @rows > 0 AND @max_batches > 0
        BEGIN
            SET @upto = NULL;
            SELECT @upto = MAX(seq) FROM [scaleout].messages_1
            WHERE seq > @done AND seq <= @done + @batch AND seq < @last_seq
                AND (seq <= @last_seq - @keep_rows OR at < @cutoff OR bytes <= @bytes - @keep_bytes);
            DELETE FROM [scaleout].messages_1 WITH (ROWLOCK) WHERE seq > @done AND seq <= @upto;
            SET @rows = @@ROWCOUNT;
            SET @deleted = @deleted + @rows;
            SET @done = @upto;
            SET @max_batches = @max_batches - 1;
        END;
        IF @deleted > 0
        BEGIN
            SELECT TOP (1) @oldest = epoch FROM [scaleout].messages_1 ORDER BY seq;
            DELETE FROM [scaleout].epochs WHERE stream = 1 AND epoch < @oldest;
        END;
        EXEC sp_releaseapplock @Resource = N'scaleout:trim:1:scaleout', @LockOwner = N'Session';
    END TRY
    BEGIN CATCH
        IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
        EXEC sp_releaseapplock @Resource = N'scaleout:trim:1:scaleout', @LockOwner = N'Session';
        THROW;
    END CATCH;
    SELECT @deleted, CAST(CASE WHEN @rows > 0 THEN 1 ELSE 0 END AS bit);
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The rows behind @after_<stream> of every stream where that is not NULL, one result set per such stream, as read_<stream> yields
-- them: one round trip, however many streams have something new. Where the store has another epoch, or none, numbers of rows may mean others
-- than the caller has seen: 50010, it looks at the positions again.
CREATE PROCEDURE [scaleout].[read]
    @epoch bigint,
    @after_0 bigint = NULL,
    @after_1 bigint = NULL,
    @max_rows int,
    @max_bytes bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF NOT EXISTS (SELECT 1 FROM [scaleout].layout WHERE epoch = @epoch) THROW 50010, N'the store has another epoch', 1;
    IF @after_0 IS NOT NULL EXEC [scaleout].read_0 @after_0, @max_rows, @max_bytes;
    IF @after_1 IS NOT NULL EXEC [scaleout].read_1 @after_1, @max_rows, @max_bytes;
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
-- The last step before the commit: the layout row, whose presence says that all objects are there, and the first epoch of every
-- stream, which continues nothing. Where they are there already, the objects have just been brought to this version.
DECLARE @epoch bigint, @store nvarchar(400), @now datetime2(7);
IF EXISTS (SELECT 1 FROM [scaleout].layout)
    UPDATE [scaleout].layout SET schema_version = 1, compatible_from = 1
    WHERE schema_version < 1;
ELSE
BEGIN
    SET @now = SYSUTCDATETIME();
    SET @epoch = DATEDIFF_BIG(microsecond, '1970-01-01', @now);
    SET @store = [scaleout].store_identity();
    INSERT INTO [scaleout].layout (only_row, schema_version, compatible_from, app, table_count, epoch, store)
    VALUES (1, 1, 1, N'chat', 2, @epoch, @store);
    INSERT INTO [scaleout].streams (stream, epoch, first_seq, last_seq, bytes) VALUES (0, @epoch, 0, 0, 0);
    INSERT INTO [scaleout].epochs (stream, epoch, first_seq, after_epoch, after_id, opened_at)
    VALUES (0, @epoch, 0, NULL, NULL, @now);
    INSERT INTO [scaleout].messages_0 (seq, epoch, id, at, bytes, payload) VALUES (0, @epoch, 0, @now, 0, 0x);
    INSERT INTO [scaleout].streams (stream, epoch, first_seq, last_seq, bytes) VALUES (1, @epoch, 0, 0, 0);
    INSERT INTO [scaleout].epochs (stream, epoch, first_seq, after_epoch, after_id, opened_at)
    VALUES (1, @epoch, 0, NULL, NULL, @now);
    INSERT INTO [scaleout].messages_1 (seq, epoch, id, at, bytes, payload) VALUES (0, @epoch, 0, @now, 0, 0x);
END;
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO
COMMIT TRANSACTION;
GO
SET NOEXEC OFF;
GO
