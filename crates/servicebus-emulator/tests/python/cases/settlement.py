"""What becomes of a message that was received under a lock."""

import time
from datetime import datetime, timedelta, timezone

from azure.servicebus import AutoLockRenewer, ServiceBusMessage, ServiceBusReceivedMessage, ServiceBusReceiveMode
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError, MessageNotFoundError

from support import SHORT_LOCK, assert_silent, bodies, body, case, raises, receive, receive_one, until


class Unaware(ServiceBusReceivedMessage):
    """A message that does not look at its lock, so that the service must."""

    _lock_expired = False


@case
def a_completed_message_is_gone(namespace):
    with namespace.topic() as topic, namespace.client() as client, namespace.admin() as admin:
        namespace.publish(topic, "one", "two")
        with client.get_subscription_receiver(topic, "s") as receiver:
            messages = receive(receiver, 2)
            assert all(message.delivery_count == 0 for message in messages)
            for message in messages:
                receiver.complete_message(message)
            with raises(MessageAlreadySettled):
                receiver.complete_message(messages[0])
            assert_silent(receiver)
        assert admin.get_subscription_runtime_properties(topic, "s").total_message_count == 0


@case
def an_abandoned_message_comes_again_and_is_counted(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, "one", "two")
        with client.get_subscription_receiver(topic, "s") as receiver:
            numbers = set()
            for count in range(4):
                message = receive_one(receiver)
                assert body(message) == b"one" and message.delivery_count == count, message
                numbers.add((message.sequence_number, message.enqueued_sequence_number))
                receiver.abandon_message(message)
            assert len(numbers) == 1, "it keeps its numbers"
            assert bodies(receive(receiver, 2)) == [b"one", b"two"]


@case
def too_many_deliveries_lead_to_the_dead_letter_queue(namespace):
    with namespace.topic(max_delivery_count=3) as topic, namespace.client() as client:
        namespace.publish(topic, "poison")
        with client.get_subscription_receiver(topic, "s") as receiver:
            for _ in range(3):
                receiver.abandon_message(receive_one(receiver))
            assert_silent(receiver)
        with client.get_subscription_receiver(topic, "s", sub_queue="deadletter") as receiver:
            message = receive_one(receiver)
            assert body(message) == b"poison"
            assert message.dead_letter_reason == "MaxDeliveryCountExceeded"


@case
def a_dead_lettered_message_is_read_from_its_queue(namespace):
    with namespace.topic() as topic, namespace.client() as client, namespace.admin() as admin:
        namespace.publish(topic, ServiceBusMessage("bad", message_id="b", application_properties={"k": "v"}), "bad too")
        with client.get_subscription_receiver(topic, "s") as receiver:
            first, second = receive(receiver, 2)
            receiver.dead_letter_message(first, reason="no frame", error_description="its first byte is wrong")
            receiver.dead_letter_message(second)
            assert_silent(receiver)
        counts = admin.get_subscription_runtime_properties(topic, "s")
        assert counts.active_message_count == 0 and counts.dead_letter_message_count == 2, counts
        with client.get_subscription_receiver(topic, "s", sub_queue="deadletter") as receiver:
            [peeked, _] = receiver.peek_messages(2)
            assert body(peeked) == b"bad"
            bad, too = receive(receiver, 2)
            assert body(bad) == b"bad" and body(too) == b"bad too"
            assert bad.dead_letter_reason == "no frame"
            assert bad.dead_letter_error_description == "its first byte is wrong"
            assert bad.application_properties[b"k"] == b"v" and bad.message_id == "b"
            assert bad.enqueued_sequence_number == first.enqueued_sequence_number
            receiver.abandon_message(bad)
            assert body(again := receive_one(receiver)) == b"bad"
            for message in (again, too):
                receiver.complete_message(message)
        assert admin.get_subscription_runtime_properties(topic, "s").total_message_count == 0


@case
def a_deferred_message_is_received_by_its_number(namespace):
    with namespace.topic() as topic, namespace.client() as client, namespace.admin() as admin:
        namespace.publish(topic, "later", "now")
        with client.get_subscription_receiver(topic, "s") as receiver:
            later, now = receive(receiver, 2)
            receiver.defer_message(later)
            receiver.complete_message(now)
            assert_silent(receiver)
            [message] = receiver.receive_deferred_messages(later.sequence_number)
            assert body(message) == b"later" and message.sequence_number == later.sequence_number
            receiver.abandon_message(message)
            # It stays deferred.
            assert_silent(receiver)
            [message] = receiver.receive_deferred_messages([later.sequence_number])
            receiver.complete_message(message)
            with raises(MessageNotFoundError):
                receiver.receive_deferred_messages(later.sequence_number)
        assert admin.get_subscription_runtime_properties(topic, "s").total_message_count == 0


@case
def a_deferred_message_is_dead_lettered_and_deleted(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        namespace.publish(topic, "one", "two")
        with client.get_subscription_receiver(topic, "s") as receiver:
            numbers = []
            for message in receive(receiver, 2):
                numbers.append(message.sequence_number)
                receiver.defer_message(message)
            [one] = receiver.receive_deferred_messages(numbers[0])
            receiver.dead_letter_message(one, reason="deferred", error_description="for too long")
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        with client.get_subscription_receiver(topic, "s", receive_mode=mode) as receiver:
            assert bodies(receiver.receive_deferred_messages(numbers[1])) == [b"two"]
            with raises(MessageNotFoundError):
                receiver.receive_deferred_messages(numbers[1])
        with client.get_subscription_receiver(topic, "s", sub_queue="deadletter") as receiver:
            message = receive_one(receiver)
            assert body(message) == b"one" and message.dead_letter_reason == "deferred"


@case
def a_lock_that_runs_out_lets_the_message_come_again(namespace):
    with namespace.topic(lock_duration=SHORT_LOCK) as topic, namespace.client() as client:
        namespace.publish(topic, "one")
        with client.get_subscription_receiver(topic, "s") as receiver:
            first = receive_one(receiver)
            left = first.locked_until_utc - datetime.now(timezone.utc)
            assert timedelta(0) < left <= SHORT_LOCK + timedelta(seconds=1), left
            second = receive_one(receiver)
            assert second.sequence_number == first.sequence_number
            assert second.delivery_count == 1
            assert second.lock_token != first.lock_token
            with raises(MessageLockLostError):
                receiver.complete_message(first)
            with raises(MessageLockLostError):
                receiver.renew_message_lock(first)
            receiver.complete_message(second)
            assert_silent(receiver)


@case
def the_service_refuses_a_lock_that_ran_out(namespace):
    with namespace.topic(lock_duration=SHORT_LOCK) as topic, namespace.client() as client:
        namespace.publish(topic, "one")
        with client.get_subscription_receiver(topic, "s") as receiver:
            first = receive_one(receiver)
            second = receive_one(receiver)
            first.__class__ = Unaware
            with raises(MessageLockLostError):
                receiver.complete_message(first)
            receiver.complete_message(second)


@case
def a_renewed_lock_holds(namespace):
    with namespace.topic(lock_duration=SHORT_LOCK) as topic, namespace.client() as client:
        namespace.publish(topic, "one")
        with client.get_subscription_receiver(topic, "s") as receiver:
            message = receive_one(receiver)
            began, end = time.monotonic(), message.locked_until_utc
            # Longer than one lock would last.
            while time.monotonic() - began < SHORT_LOCK.total_seconds() + 1.5:
                assert_silent(receiver)
                renewed = receiver.renew_message_lock(message)
                assert renewed > end and message.locked_until_utc == renewed
                end = renewed
            receiver.complete_message(message)
            with raises(MessageAlreadySettled):
                receiver.renew_message_lock(message)
            assert_silent(receiver)


@case
def locks_are_renewed_in_the_background(namespace):
    with namespace.topic(lock_duration=timedelta(seconds=20)) as topic, namespace.client() as client:
        namespace.publish(topic, "one")
        # The SDK renews within ten seconds of the end.
        with AutoLockRenewer(max_lock_renewal_duration=300) as renewer:
            with client.get_subscription_receiver(topic, "s", auto_lock_renewer=renewer) as receiver:
                message = receive_one(receiver)
                first = message.locked_until_utc
                until(lambda: message.locked_until_utc > first)
                assert message.auto_renew_error is None
                receiver.complete_message(message)
