-- The truth: frames of stream $(stream), oldest first. One clustered index and nothing else: publish appends at its end, read seeks
-- in it, trim deletes at its beginning. The row with id 0 opens its epoch and carries nothing.
IF OBJECT_ID(N'$(schema_in_text).messages_$(stream)', N'U') IS NULL
    CREATE TABLE $(schema).messages_$(stream) (
        seq     bigint         NOT NULL CONSTRAINT messages_$(stream)_pk PRIMARY KEY CLUSTERED,
        epoch   bigint         NOT NULL,
        id      bigint         NOT NULL,                        -- 0, 1, 2, ... in each epoch
        at      datetime2(7)   NOT NULL,                        -- with seq it names a row also across a restore
        bytes   bigint         NOT NULL,                        -- payload bytes up to this row, so that sizes are known without reading
        payload varbinary(max) NOT NULL
    );
