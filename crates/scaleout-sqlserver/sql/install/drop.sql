-- Procedures are made anew with every installation, in its transaction: a call waits for the commit, and grants on the schema stay.
DROP PROCEDURE IF EXISTS $(schema).positions, $(schema).[read], $(schema).held, $(schema).renew, $(schema).open_epoch;
-- $(each stream)
DROP PROCEDURE IF EXISTS $(schema).publish_$(stream), $(schema).read_$(stream), $(schema).trim_$(stream);
-- $(end)
DROP FUNCTION IF EXISTS $(schema).store_identity;
