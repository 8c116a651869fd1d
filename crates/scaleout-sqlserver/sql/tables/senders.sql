-- The last frame that each stream holds of each node, written by the transaction that appends the frame: what was sent
-- twice is found here, and what a restored database has forgotten.
IF OBJECT_ID(N'$(schema_in_text).senders', N'U') IS NULL
    CREATE TABLE $(schema).senders (
        stream      smallint     NOT NULL,
        node        binary(16)   NOT NULL,
        last_number bigint       NOT NULL,
        seen_at     datetime2(3) NOT NULL,                      -- renewed by renew while the node lives
        CONSTRAINT senders_pk PRIMARY KEY CLUSTERED (stream, node)
    );
