"""Ways to receive: without locks, ahead of time, side by side, by looking only; and what is no longer received."""

from datetime import datetime, timedelta, timezone

from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.exceptions import MessageAlreadySettled

from support import PATIENCE, SHORT_LOCK, assert_silent, bodies, body, case, raises, receive, receive_one, until

DELETE = ServiceBusReceiveMode.RECEIVE_AND_DELETE


@case
def receive_and_delete_leaves_nothing(namespace):
    with namespace.topic() as topic, namespace.client() as client, namespace.admin() as admin:
        namespace.publish(topic, *(f"{index}" for index in range(20)))
        with client.get_subscription_receiver(topic, "s", receive_mode=DELETE) as receiver:
            messages = receive(receiver, 20)
            assert bodies(messages) == [b"%d" % index for index in range(20)]
            assert messages[0].locked_until_utc is None
            with raises(ValueError, MessageAlreadySettled):
                receiver.complete_message(messages[0])
            assert_silent(receiver)
        assert admin.get_subscription_runtime_properties(topic, "s").total_message_count == 0


@case
def a_waiting_receiver_gets_what_is_sent_later(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_subscription_receiver(topic, "s") as receiver, client.get_topic_sender(topic) as sender:
            for index in range(10):
                sender.send_messages(ServiceBusMessage(f"{index}"))
                message = receive_one(receiver)
                # What comes while the SDK does not ask is given back, and counts as no delivery.
                assert body(message) == b"%d" % index and message.delivery_count == 0, message
                receiver.complete_message(message)


@case
def a_receiver_is_iterated(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, *(f"{index}" for index in range(30)))
        with client.get_subscription_receiver(topic, "s", max_wait_time=PATIENCE) as receiver:
            seen = []
            for message in receiver:
                seen.append(body(message))
                receiver.complete_message(message)
                if len(seen) == 30:
                    break
        assert seen == [b"%d" % index for index in range(30)]


@case
def prefetched_messages_come_once_and_in_order(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            sender.send_messages([ServiceBusMessage(f"{index}") for index in range(100)])
        with client.get_subscription_receiver(topic, "s", prefetch_count=20) as receiver:
            seen = []
            while len(seen) < 100:
                for message in receive(receiver, 10):
                    seen.append(body(message))
                    receiver.complete_message(message)
            assert seen == [b"%d" % index for index in range(100)]
            assert_silent(receiver)


@case
def what_was_prefetched_and_not_used_is_not_lost(namespace):
    with namespace.topic(lock_duration=SHORT_LOCK) as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender:
            sender.send_messages([ServiceBusMessage(f"{index}") for index in range(10)])
        with client.get_subscription_receiver(topic, "s", prefetch_count=10) as receiver:
            receiver.complete_message(receive_one(receiver))
        with client.get_subscription_receiver(topic, "s") as receiver:
            seen = set()
            while len(seen) < 9:
                message = receive_one(receiver)
                seen.add(body(message))
                receiver.complete_message(message)
            assert seen == {b"%d" % index for index in range(1, 10)}, seen


@case
def two_receivers_share_a_subscription(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, *(f"{index}" for index in range(20)))
        with client.get_subscription_receiver(topic, "s") as one, client.get_subscription_receiver(topic, "s") as two:
            seen = []
            for receiver in (one, two, one, two):
                messages = receive(receiver, 5)
                seen += bodies(messages)
                for message in messages:
                    receiver.complete_message(message)
            assert sorted(seen) == sorted(b"%d" % index for index in range(20)), seen
            assert_silent(one)
            assert_silent(two)


@case
def an_abandoned_message_may_go_to_the_other_receiver(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, "one")
        with client.get_subscription_receiver(topic, "s") as one, client.get_subscription_receiver(topic, "s") as two:
            one.abandon_message(receive_one(one))
            message = receive_one(two)
            assert body(message) == b"one" and message.delivery_count == 1
            two.complete_message(message)


@case
def peeking_takes_and_locks_nothing(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, *(ServiceBusMessage(f"{index}", subject=f"s{index}") for index in range(8)))
        with client.get_subscription_receiver(topic, "s") as receiver:
            first = receiver.peek_messages(3)
            assert bodies(first) == [b"0", b"1", b"2"]
            assert [message.subject for message in first] == ["s0", "s1", "s2"]
            assert [message.enqueued_sequence_number for message in first] == [1, 2, 3]
            # It goes on where it stopped, and from where it is told.
            assert bodies(receiver.peek_messages(3)) == [b"3", b"4", b"5"]
            assert bodies(receiver.peek_messages(10)) == [b"6", b"7"]
            assert receiver.peek_messages(10) == []
            again = receiver.peek_messages(2, sequence_number=first[1].sequence_number)
            assert bodies(again) == [b"1", b"2"]
            with raises(ValueError):
                receiver.complete_message(again[0])
            messages = receive(receiver, 8)
            assert all(message.delivery_count == 0 for message in messages)
            # What is locked is seen too.
            assert bodies(receiver.peek_messages(1, sequence_number=1)) == [b"0"]


@case
def an_expired_message_is_gone(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, ServiceBusMessage("short", time_to_live=timedelta(seconds=1)), "long")
        with client.get_subscription_receiver(topic, "s") as receiver:
            until(lambda: bodies(receiver.peek_messages(10, sequence_number=1)) == [b"long"])
            assert body(receive_one(receiver)) == b"long"
            assert_silent(receiver)
        with client.get_subscription_receiver(topic, "s", sub_queue="deadletter") as receiver:
            assert_silent(receiver)


@case
def a_locked_message_may_be_completed_after_its_time_but_does_not_come_again(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        for text in ("one", "two"):
            namespace.publish(topic, ServiceBusMessage(text, time_to_live=timedelta(seconds=10)))
        with client.get_subscription_receiver(topic, "s") as receiver:
            one, two = receive(receiver, 2)
            until(lambda: datetime.now(timezone.utc) > two.expires_at_utc)
            receiver.complete_message(one)
            receiver.abandon_message(two)
            assert_silent(receiver)


@case
def an_expired_message_is_dead_lettered_where_that_is_asked_for(namespace):
    with namespace.topic(dead_lettering_on_message_expiration=True) as topic, namespace.client() as client:
        namespace.publish(topic, ServiceBusMessage("short", time_to_live=timedelta(seconds=1)))
        with client.get_subscription_receiver(topic, "s", sub_queue="deadletter") as receiver:
            message = receive_one(receiver)
            assert body(message) == b"short"
            assert message.dead_letter_reason == "TTLExpiredException"
        with client.get_subscription_receiver(topic, "s") as receiver:
            assert_silent(receiver)


@case
def the_shortest_time_to_live_counts(namespace):
    of_topic = {"default_message_time_to_live": timedelta(minutes=10)}
    ttl = timedelta(minutes=5)
    with namespace.topic(of_topic=of_topic, default_message_time_to_live=ttl) as topic, namespace.client() as client:
        for own in (None, timedelta(minutes=2), timedelta(hours=1)):
            namespace.publish(topic, ServiceBusMessage("x", time_to_live=own))
        with client.get_subscription_receiver(topic, "s") as receiver:
            lives = [message.expires_at_utc - message.enqueued_time_utc for message in receive(receiver, 3)]
    assert lives == [timedelta(minutes=5), timedelta(minutes=2), timedelta(minutes=5)], lives
