"""Topics and subscriptions over the management API."""

import uuid
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.servicebus.management import EntityStatus, SqlRuleFilter, TrueRuleFilter

from support import case, case_alone, raises


def fresh():
    return f"py-{uuid.uuid4().hex}"


@case
def a_topic_is_created_with_what_was_asked_for(namespace):
    name = fresh()
    with namespace.admin() as admin:
        created = admin.create_topic(
            name,
            default_message_time_to_live=timedelta(minutes=5),
            max_size_in_megabytes=2048,
            requires_duplicate_detection=True,
            duplicate_detection_history_time_window=timedelta(minutes=20),
            auto_delete_on_idle=timedelta(minutes=7),
            enable_batched_operations=True,
        )
        for topic in (created, admin.get_topic(name)):
            assert topic.name == name
            assert topic.default_message_time_to_live == timedelta(minutes=5)
            assert topic.max_size_in_megabytes == 2048
            assert topic.requires_duplicate_detection is True
            assert topic.duplicate_detection_history_time_window == timedelta(minutes=20)
            assert topic.auto_delete_on_idle == timedelta(minutes=7)
            assert topic.enable_batched_operations is True
            assert topic.enable_partitioning is False
            assert topic.status == EntityStatus.ACTIVE
        admin.delete_topic(name)


@case
def a_topic_has_the_defaults_of_the_service(namespace):
    with namespace.topic() as name, namespace.admin() as admin:
        topic = admin.get_topic(name)
        assert topic.requires_duplicate_detection is False
        assert topic.enable_partitioning is False
        # Without end; the SDK has no number for it that other systems agree on.
        assert topic.default_message_time_to_live > timedelta(days=365 * 1000)
        assert topic.auto_delete_on_idle > timedelta(days=365 * 1000)
        subscription = admin.get_subscription(name, "s")
        assert subscription.requires_session is False
        assert subscription.max_delivery_count == 10
        assert subscription.dead_lettering_on_message_expiration is False
        assert subscription.status == EntityStatus.ACTIVE


@case
def a_topic_tells_when_it_was_made_and_what_it_holds(namespace):
    before = datetime.now(timezone.utc) - timedelta(seconds=2)
    with namespace.topic("s1", "s2") as name, namespace.admin() as admin:
        runtime = admin.get_topic_runtime_properties(name)
        assert before <= runtime.created_at_utc <= datetime.now(timezone.utc) + timedelta(seconds=2)
        assert runtime.subscription_count == 2
        assert runtime.scheduled_message_count == 0
        namespace.publish(name, b"x" * 10_000)
        assert admin.get_topic_runtime_properties(name).size_in_bytes >= 10_000
        counts = admin.get_subscription_runtime_properties(name, "s1")
        assert counts.active_message_count == 1 and counts.total_message_count == 1
        assert counts.dead_letter_message_count == 0
        assert counts.created_at_utc >= before


@case
def a_subscription_is_created_with_what_was_asked_for(namespace):
    with namespace.topic() as topic, namespace.admin() as admin:
        created = admin.create_subscription(
            topic,
            "node-0123456789abcdef",
            lock_duration=timedelta(seconds=30),
            default_message_time_to_live=timedelta(minutes=3),
            dead_lettering_on_message_expiration=True,
            max_delivery_count=2000,
            auto_delete_on_idle=timedelta(minutes=5),
        )
        for subscription in (created, admin.get_subscription(topic, "node-0123456789abcdef")):
            assert subscription.name == "node-0123456789abcdef"
            assert subscription.lock_duration == timedelta(seconds=30)
            assert subscription.default_message_time_to_live == timedelta(minutes=3)
            assert subscription.dead_lettering_on_message_expiration is True
            assert subscription.max_delivery_count == 2000
            assert subscription.auto_delete_on_idle == timedelta(minutes=5)


@case
def what_exists_is_not_created_again(namespace):
    with namespace.topic() as topic, namespace.admin() as admin:
        with raises(ResourceExistsError) as caught:
            admin.create_topic(topic)
        assert caught[0].status_code == 409
        with raises(ResourceExistsError) as caught:
            admin.create_subscription(topic, "s")
        assert caught[0].status_code == 409


@case
def what_is_missing_is_not_found(namespace):
    with namespace.topic() as topic, namespace.admin() as admin:
        absent = fresh()
        for ask in (
            lambda: admin.get_topic(absent),
            lambda: admin.get_topic_runtime_properties(absent),
            lambda: admin.delete_topic(absent),
            lambda: admin.create_subscription(absent, "s"),
            lambda: admin.get_subscription(absent, "s"),
            lambda: admin.get_subscription(topic, "absent"),
            lambda: admin.delete_subscription(topic, "absent"),
            lambda: admin.get_subscription_runtime_properties(topic, "absent"),
        ):
            with raises(ResourceNotFoundError):
                ask()


@case
def what_was_deleted_is_gone(namespace):
    name = fresh()
    with namespace.admin() as admin:
        admin.create_topic(name)
        admin.create_subscription(name, "s")
        admin.delete_subscription(name, "s")
        with raises(ResourceNotFoundError):
            admin.get_subscription(name, "s")
        admin.create_subscription(name, "s")
        admin.delete_topic(name)
        with raises(ResourceNotFoundError):
            admin.get_topic(name)
        # Its subscriptions went with it.
        admin.create_topic(name)
        assert list(admin.list_subscriptions(name)) == []
        admin.delete_topic(name)


@case_alone
def listings_come_in_pages(namespace):
    names = {f"{fresh()}-{index}" for index in range(105)}
    with namespace.admin() as admin:
        for name in names:
            admin.create_topic(name)
        try:
            listed = [topic.name for topic in admin.list_topics()]
            assert names <= set(listed)
            assert len(listed) == len(set(listed)), "a topic is on two pages"
            of_runtime = {topic.name: topic for topic in admin.list_topics_runtime_properties()}
            assert names <= of_runtime.keys()
            assert all(of_runtime[name].subscription_count == 0 for name in names)
        finally:
            for name in names:
                admin.delete_topic(name)


@case
def subscriptions_are_listed(namespace):
    names = [f"s{index:03}" for index in range(104)]
    with namespace.topic(*names) as topic, namespace.admin() as admin:
        assert [subscription.name for subscription in admin.list_subscriptions(topic)] == names
        runtime = list(admin.list_subscriptions_runtime_properties(topic))
        assert [subscription.name for subscription in runtime] == names


@case
def a_topic_is_changed(namespace):
    with namespace.topic() as name, namespace.admin() as admin:
        topic = admin.get_topic(name)
        topic.default_message_time_to_live = timedelta(minutes=9)
        topic.auto_delete_on_idle = timedelta(minutes=11)
        admin.update_topic(topic)
        changed = admin.get_topic(name)
        assert changed.default_message_time_to_live == timedelta(minutes=9)
        assert changed.auto_delete_on_idle == timedelta(minutes=11)


@case
def a_subscription_is_changed(namespace):
    with namespace.topic() as name, namespace.admin() as admin:
        subscription = admin.get_subscription(name, "s")
        subscription.lock_duration = timedelta(seconds=40)
        subscription.max_delivery_count = 17
        admin.update_subscription(name, subscription)
        changed = admin.get_subscription(name, "s")
        assert changed.lock_duration == timedelta(seconds=40)
        assert changed.max_delivery_count == 17


@case
def what_is_missing_is_not_changed(namespace):
    with namespace.topic() as name, namespace.admin() as admin:
        topic = admin.get_topic(name)
        subscription = admin.get_subscription(name, "s")
        topic.name = fresh()
        subscription.name = "absent"
        with raises(ResourceNotFoundError):
            admin.update_topic(topic)
        with raises(ResourceNotFoundError):
            admin.update_subscription(name, subscription)


@case
def a_subscription_takes_everything(namespace):
    with namespace.topic() as topic, namespace.admin() as admin:
        [rule] = admin.list_rules(topic, "s")
        assert rule.name == "$Default"
        assert isinstance(rule.filter, TrueRuleFilter)


@case
def what_the_emulator_lacks_is_refused(namespace):
    with namespace.topic() as topic, namespace.admin() as admin:
        for ask in (
            lambda: admin.create_queue(fresh()),
            lambda: admin.create_subscription(topic, "sessions", requires_session=True),
            lambda: admin.create_rule(topic, "s", "few", filter=SqlRuleFilter("priority > 3")),
        ):
            with raises(HttpResponseError) as caught:
                ask()
            assert 400 <= caught[0].status_code <= 501 and caught[0].status_code not in (401, 404), caught[0]


@case
def impossible_descriptions_are_refused(namespace):
    with namespace.topic() as topic, namespace.admin() as admin:
        for ask in (
            lambda: admin.create_topic("x" * 261),
            lambda: admin.create_subscription(topic, "x" * 51),
            lambda: admin.create_subscription(topic, "long", lock_duration=timedelta(minutes=6)),
            lambda: admin.create_subscription(topic, "short", auto_delete_on_idle=timedelta(minutes=4)),
        ):
            with raises(HttpResponseError) as caught:
                ask()
            assert caught[0].status_code == 400, caught[0]


@case
def a_wrong_key_manages_nothing(namespace):
    with namespace.topic() as topic, namespace.admin(key="d3Jvbmc=") as stranger:
        for ask in (
            lambda: stranger.get_topic(topic),
            lambda: stranger.create_topic(fresh()),
            lambda: stranger.delete_topic(topic),
            lambda: list(stranger.list_topics()),
        ):
            with raises(ClientAuthenticationError) as caught:
                ask()
            assert caught[0].status_code == 401
