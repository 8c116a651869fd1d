-- The histories of each stream that still have rows, and what each continues.
IF OBJECT_ID(N'$(schema_in_text).epochs', N'U') IS NULL
    CREATE TABLE $(schema).epochs (
        stream      smallint     NOT NULL,
        epoch       bigint       NOT NULL,
        first_seq   bigint       NOT NULL,                      -- seq of the row that opened it
        after_epoch bigint       NULL,                          -- last position of the history that it continues; NULL: nothing,
        after_id    bigint       NULL,                          -- or nobody knows
        opened_at   datetime2(3) NOT NULL,
        CONSTRAINT epochs_pk PRIMARY KEY CLUSTERED (stream, epoch)
    );
