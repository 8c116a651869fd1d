"""One thing at a time with Microsoft's SDK, for tests of what talks to it.

    python interop.py CONNECTION_STRING publish TOPIC [--hex BODY] [--message-id ID] [--count N]
    python interop.py CONNECTION_STRING receive TOPIC SUBSCRIPTION
    python interop.py CONNECTION_STRING echo TOPIC SUBSCRIPTION TO_TOPIC

`publish` sends a message that is no frame, or the body that is given. `receive` takes one message and prints it on one
line: its number in the topic, its id, its body in hexadecimal digits. `echo` sends on what it received, to another topic,
with the same id and body, and prints it too. All wait for a message, and complete it once it is printed.
"""

import argparse
import sys

sys.dont_write_bytecode = True

from azure.servicebus import ServiceBusMessage  # noqa: E402

from support import PATIENCE, Namespace, body, receive_one  # noqa: E402

NO_FRAME = b"this is no frame"


def publish(client, options):
    data = NO_FRAME if options.hex is None else bytes.fromhex(options.hex)
    with client.get_topic_sender(options.topic) as sender:
        for _ in range(options.count):
            sender.send_messages(ServiceBusMessage(data, message_id=options.message_id))


def receive(client, options):
    with client.get_subscription_receiver(options.topic, options.subscription) as receiver:
        message = receive_one(receiver, options.patience)
        print(message.enqueued_sequence_number, message.message_id, body(message).hex(), flush=True)
        receiver.complete_message(message)
    return message


def echo(client, options):
    message = receive(client, options)
    with client.get_topic_sender(options.to) as sender:
        sender.send_messages(ServiceBusMessage(body(message), message_id=message.message_id))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("connection_string")
    parser.add_argument("--patience", type=float, default=PATIENCE, metavar="SECONDS")
    modes = parser.add_subparsers(required=True)
    mode = modes.add_parser("publish")
    mode.set_defaults(run=publish)
    mode.add_argument("topic")
    mode.add_argument("--hex")
    mode.add_argument("--message-id")
    mode.add_argument("--count", type=int, default=1)
    mode = modes.add_parser("receive")
    mode.set_defaults(run=receive)
    mode.add_argument("topic")
    mode.add_argument("subscription")
    mode = modes.add_parser("echo")
    mode.set_defaults(run=echo)
    mode.add_argument("topic")
    mode.add_argument("subscription")
    mode.add_argument("to")
    options = parser.parse_args()
    with Namespace(options.connection_string).client() as client:
        options.run(client, options)


if __name__ == "__main__":
    main()
