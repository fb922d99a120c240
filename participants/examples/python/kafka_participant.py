"""A participant behind Kafka. Offsets are committed only after the replies are delivered."""

import sys
from datetime import datetime, timezone

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from barrier import Command, Reply
from loyalty import arguments, start

# A reply that will never fit where it was asked for. It is passed over; its command comes again and may do better.
HOPELESS = (KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.MSG_SIZE_TOO_LARGE)


def read(record):
    """The command in a record, and where its reply belongs. Header names: docs/wire.md."""
    header = {name: value.decode() for name, value in record.headers() or [] if value is not None}
    command = Command(
        id=header["ce_id"], saga_id=header["ce_subject"], step=header["amends-step"],
        operation=header["amends-operation"], name=header["ce_type"], payload=record.value().decode(),
        revision=int(header.get("amends-revision", 0)), attempt=int(header.get("amends-attempt", 1)),
        trace=header.get("traceparent", ""))
    return command, header["amends-reply-topic"], int(header["amends-reply-partition"])


def reply_headers(participant, command, reply):
    headers = {
        "ce_specversion": "1.0", "ce_id": f"{command.id}/{command.attempt}", "ce_type": "amends.reply",
        "ce_source": f"/{participant}", "ce_subject": command.saga_id,
        "ce_time": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "content-type": "application/json", "amends-command-id": command.id, "amends-step": command.step,
        "amends-operation": command.operation, "amends-attempt": str(command.attempt), "amends-outcome": reply.outcome}
    if reply.outcome != "done":
        headers |= {"amends-error-code": reply.code, "amends-error-message": reply.message}
    return headers


def answer(args, barrier, ended, producer, records):
    """Answers the records; returns when each reply is delivered, or ends the program."""
    undelivered = []
    for record in records:
        try:
            command, topic, partition = read(record)
        except (KeyError, ValueError, AttributeError) as error:  # Passed over, or it would stop all others.
            print(f"no command at {record.topic()}/{record.partition()}/{record.offset()}: {error!r}", file=sys.stderr)
            continue
        reply = barrier.answer(command)
        print(f"{command.operation} {command.name} {command.saga_id} {reply.outcome} {command.trace}", flush=True)
        ended.wait(args.reply_after)
        try:
            producer.produce(
                topic, partition=partition, key=command.saga_id, value=reply.output,
                headers=reply_headers(args.participant, command, reply),
                on_delivery=lambda error, _: undelivered.append(error) if error else None)
        except KafkaException as error:
            undelivered.append(error.args[0])
    producer.flush()
    for error in undelivered:
        print(f"a reply was not delivered: {error}", file=sys.stderr)
    if any(error.code() not in HOPELESS for error in undelivered):
        sys.exit("its command comes again, to whoever is started in my place")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--bootstrap", default="localhost:9092", help="brokers, HOST:PORT,…")
    parser.add_argument("--prefix", default="amends.", help="what the names of topics and groups begin with")
    args = parser.parse_args()
    barrier, ended = start(args)
    consumer = Consumer({
        "bootstrap.servers": args.bootstrap, "group.id": args.prefix + args.participant, "session.timeout.ms": 6000,
        "enable.auto.commit": False, "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 5000})
    producer = Producer({
        "bootstrap.servers": args.bootstrap, "enable.idempotence": True, "allow.auto.create.topics": False,
        "delivery.timeout.ms": 30000, "linger.ms": 0})
    consumer.subscribe([f"{args.prefix}{args.participant}.commands"])
    print(f"{args.participant} answers {args.command} from {args.bootstrap}", flush=True)
    while not ended.is_set():
        first = consumer.poll(0.5)
        taken = [first, *consumer.consume(99, timeout=0)] if first else []
        records = [record for record in taken if not record.error()]
        if records:
            answer(args, barrier, ended, producer, records)
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:  # Another worker has them now: what comes twice is answered alike.
                print(f"offsets were not committed: {error}", file=sys.stderr)
    consumer.close()


if __name__ == "__main__":
    main()
