"""Messages come out as they went in: bodies, properties, batches, sizes, and the numbers that the service gives."""

import uuid
from datetime import datetime, timedelta, timezone

from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import (
    AmqpAnnotatedMessage,
    AmqpMessageBodyType,
    AmqpMessageHeader,
    AmqpMessageProperties,
)
from azure.servicebus.exceptions import MessageSizeExceededError, ServiceBusConnectionError

from support import bodies, body, case, raises, receive, receive_one

LIMIT = 256 * 1024


def through(namespace, *messages):
    """What comes of these messages, in receive-and-delete."""
    with namespace.topic() as topic:
        namespace.publish(topic, *messages)
        with namespace.client() as client:
            with client.get_subscription_receiver(topic, "s", receive_mode="receiveanddelete") as receiver:
                return receive(receiver, len(messages))


@case
def bytes_come_byte_for_byte(namespace):
    sent = [b"", bytes(range(256)), bytes(range(255)), b"\0" * 70_000, "text, Grüße, 漢字".encode()]
    assert bodies(through(namespace, *sent)) == sent


@case
def a_body_of_several_data_sections_keeps_them(namespace):
    [message] = through(namespace, AmqpAnnotatedMessage(data_body=[b"one", b"", b"three"]))
    assert message.body_type == AmqpMessageBodyType.DATA
    assert list(message.body) == [b"one", b"", b"three"]


@case
def a_body_of_one_value_keeps_its_type(namespace):
    unique = uuid.uuid4()
    values = [
        (None, None),
        (True, True),
        (-5, -5),
        (2**31 - 1, 2**31 - 1),
        (1.5, 1.5),
        ("text", b"text"),
        (b"bytes", b"bytes"),
        (unique, unique),
        ([1, "two", None], [1, b"two", None]),
        ({"key": "value", "n": 7}, {b"key": b"value", b"n": 7}),
        ("long " * 100, b"long " * 100),
    ]
    messages = through(namespace, *(AmqpAnnotatedMessage(value_body=value) for value, _ in values))
    for message, (value, expected) in zip(messages, values):
        assert message.body_type == AmqpMessageBodyType.VALUE
        assert message.body == expected, f"{value!r} came as {message.body!r}"


@case
def a_body_of_sequences_keeps_them(namespace):
    [message] = through(namespace, AmqpAnnotatedMessage(sequence_body=[[1, 2, 3], [b"four", None], []]))
    assert message.body_type == AmqpMessageBodyType.SEQUENCE
    assert list(message.body) == [[1, 2, 3], [b"four", None], []]


@case
def properties_come_as_they_went(namespace):
    sent = ServiceBusMessage(
        b"body",
        message_id="the-id",
        correlation_id="the-correlation",
        content_type="application/x-frame",
        subject="the-subject",
        to="somebody",
        reply_to="me",
        reply_to_session_id="session",
        time_to_live=timedelta(minutes=2),
    )
    [message] = through(namespace, sent)
    assert message.message_id == "the-id"
    assert message.correlation_id == "the-correlation"
    assert message.content_type == "application/x-frame"
    assert message.subject == "the-subject"
    assert message.to == "somebody"
    assert message.reply_to == "me"
    assert message.reply_to_session_id == "session"
    assert message.time_to_live == timedelta(minutes=2)
    assert message.expires_at_utc - message.enqueued_time_utc == timedelta(minutes=2)


@case
def application_properties_keep_their_types(namespace):
    unique = uuid.uuid4()
    sent = {
        "text": "value",
        "empty": "",
        "unicode": "Grüße",
        "int": 5,
        "negative": -(2**31),
        "float": 2.5,
        "yes": True,
        "no": False,
        "uuid": unique,
        "none": None,
    }
    [message] = through(namespace, ServiceBusMessage("x", application_properties=sent))
    decoded = {key.decode(): value for key, value in message.application_properties.items()}
    expected = {key: value.encode() if isinstance(value, str) else value for key, value in sent.items()}
    assert decoded == expected, decoded


@case
def annotations_footer_and_header_are_kept(namespace):
    sent = AmqpAnnotatedMessage(
        data_body=b"x",
        header=AmqpMessageHeader(durable=True, priority=7),
        annotations={b"x-opt-mine": b"here"},
        properties=AmqpMessageProperties(message_id="annotated", group_id=None, user_id=b"someone"),
    )
    [message] = through(namespace, sent)
    raw = message.raw_amqp_message
    assert raw.annotations[b"x-opt-mine"] == b"here"
    assert raw.properties.user_id == b"someone"
    assert message.message_id == "annotated"


@case
def the_service_numbers_and_times_messages(namespace):
    before = datetime.now(timezone.utc) - timedelta(seconds=2)
    messages = through(namespace, *(f"{index}" for index in range(5)))
    numbers = [message.enqueued_sequence_number for message in messages]
    assert numbers == [1, 2, 3, 4, 5], numbers
    own = [message.sequence_number for message in messages]
    assert all(earlier < later for earlier, later in zip(own, own[1:])), own
    after = datetime.now(timezone.utc) + timedelta(seconds=2)
    times = [message.enqueued_time_utc for message in messages]
    assert times == sorted(times) and before <= times[0] and times[-1] <= after, times


@case
def every_subscription_gets_its_copy_with_the_number_of_the_topic(namespace):
    with namespace.topic("early") as topic, namespace.client() as client, namespace.admin() as admin:
        namespace.publish(topic, "before")
        admin.create_subscription(topic, "late")
        namespace.publish(topic, "one", "two")
        with client.get_subscription_receiver(topic, "early") as early:
            with client.get_subscription_receiver(topic, "late") as late:
                of_early, of_late = receive(early, 3), receive(late, 2)
    assert bodies(of_early) == [b"before", b"one", b"two"]
    assert bodies(of_late) == [b"one", b"two"], "a subscription gets nothing of before its time"
    assert [message.enqueued_sequence_number for message in of_early] == [1, 2, 3]
    assert [message.enqueued_sequence_number for message in of_late] == [2, 3]


@case
def a_list_is_sent_as_one_batch_in_its_order(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            sender.send_messages([ServiceBusMessage(f"{index}", message_id=f"id-{index}") for index in range(300)])
        with client.get_subscription_receiver(topic, "s", receive_mode="receiveanddelete") as receiver:
            messages = receive(receiver, 300)
    assert bodies(messages) == [b"%d" % index for index in range(300)]
    assert [message.message_id for message in messages] == [f"id-{index}" for index in range(300)]
    assert [message.enqueued_sequence_number for message in messages] == list(range(1, 301))


@case
def a_batch_is_filled_to_its_limit(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            batch = sender.create_message_batch()
            assert batch.max_size_in_bytes == LIMIT, batch.max_size_in_bytes
            count = 0
            with raises(MessageSizeExceededError):
                while True:
                    batch.add_message(ServiceBusMessage(b"%04d" % count * 250, application_properties={"n": count}))
                    count += 1
            assert count == len(batch) > 200
            sender.send_messages(batch)
            with raises(ValueError):
                sender.create_message_batch(max_size_in_bytes=LIMIT + 1)
        with client.get_subscription_receiver(topic, "s", receive_mode="receiveanddelete") as receiver:
            messages = receive(receiver, count)
    assert bodies(messages) == [b"%04d" % index * 250 for index in range(count)]
    assert [message.application_properties[b"n"] for message in messages] == list(range(count))


@case
def a_list_that_is_no_batch_is_refused_whole(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            with raises(MessageSizeExceededError):
                sender.send_messages([ServiceBusMessage(b"x" * 100_000) for _ in range(3)])
            sender.send_messages(ServiceBusMessage("after"))
        with client.get_subscription_receiver(topic, "s") as receiver:
            assert body(receive_one(receiver)) == b"after"


@case
def large_messages_come_whole(namespace):
    # Room for the sections around the body.
    sizes = [65_535, 65_536, 200_000, LIMIT - 256]
    sent = [uuid.uuid4().bytes * (size // 16) + b"x" * (size % 16) for size in sizes]
    assert bodies(through(namespace, *sent)) == sent


@case
def a_message_that_is_too_large_is_refused(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            # The SDK leaves the check of a single message to the service, which detaches the link. Of that the SDK says no
            # more than that the link was lost.
            for size in (LIMIT + 1, 2 * LIMIT):
                with raises(MessageSizeExceededError, ServiceBusConnectionError):
                    sender.send_messages(ServiceBusMessage(b"x" * size))
            sender.send_messages(ServiceBusMessage("after"))
        with client.get_subscription_receiver(topic, "s") as receiver:
            message = receive_one(receiver)
    assert body(message) == b"after"
    assert message.enqueued_sequence_number == 1, "what was refused took no number"


@case
def duplicates_are_dropped_where_the_topic_detects_them(namespace):
    detecting = {
        "requires_duplicate_detection": True,
        "duplicate_detection_history_time_window": timedelta(minutes=5),
    }
    with namespace.topic(of_topic=detecting) as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            for name, text in [("a", "first"), ("a", "again"), ("b", "other"), ("a", "and again")]:
                sender.send_messages(ServiceBusMessage(text, message_id=name))
            # Within a batch as well.
            sender.send_messages([ServiceBusMessage(name, message_id=name) for name in ("c", "b", "c", "d")])
        with client.get_subscription_receiver(topic, "s", receive_mode="receiveanddelete") as receiver:
            messages = receive(receiver, 4)
    assert bodies(messages) == [b"first", b"other", b"c", b"d"]


@case
def duplicates_come_where_the_topic_does_not_detect_them(namespace):
    sent = [ServiceBusMessage(text, message_id="same") for text in ("first", "again")]
    assert bodies(through(namespace, *sent)) == [b"first", b"again"]
