WAITFOR (
    RECEIVE message_type_name FROM [scaleout].ears WHERE conversation_handle = @ear AND message_type_name = N'DEFAULT'
), TIMEOUT 100;
