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
EXEC @granted = sp_getapplock @Resource = N'scaleout:install:$(schema_text)', @LockMode = N'Exclusive',
    @LockOwner = N'Transaction', @LockTimeout = $(lock_wait_ms);
IF @granted < 0
BEGIN
    ROLLBACK TRANSACTION;
    THROW 50020, N'another node is installing schema $(schema_text)', 1;
END;
