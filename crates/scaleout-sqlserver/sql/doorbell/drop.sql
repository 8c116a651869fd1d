-- The procedures of the doorbell, to be made anew; its queues, services and conversations stay.
DROP PROCEDURE IF EXISTS $(schema).ring, $(schema).wait, $(schema).arm, $(schema).register, $(schema).unregister,
    $(schema).collect, $(schema).janitor, $(schema).doorbell_health;
