-- Ends an installation that found nothing to do, or something that it must leave alone.
IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
