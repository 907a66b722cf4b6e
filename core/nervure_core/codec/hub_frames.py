"""Frames from hubs: who adds a message adds a case on each side and one to the property test."""

from __future__ import annotations

from nervure.v1 import session_pb2 as pb
from nervure.v1 import tasks_pb2 as tasks
from nervure_core.codec.shared import MAX_PARTS, MalformedFrame, checked_stream, part_from_pb
from nervure_core.messages import (
    Ack,
    Assignment,
    Credit,
    Desired,
    HeartbeatAck,
    HubMessage,
    Move,
    Refused,
    TaskKind,
    TaskOrder,
    TaskPart,
    Welcome,
)

MAX_ASSIGNMENTS = 16

_TASK_KINDS = {kind.value for kind in TaskKind}


def encode_hub(message: HubMessage) -> pb.HubFrame:
    """Return the frame of a message from a hub."""
    match message:
        case Ack():
            return pb.HubFrame(ack=pb.Ack(stream_id=message.stream_id, durable_up_to=message.durable_up_to))
        case Credit():
            return pb.HubFrame(credit=pb.Credit(bytes=message.bytes))
        case HeartbeatAck():
            return pb.HubFrame(heartbeat_ack=pb.HeartbeatAck(sent_us=message.sent_us))
        case Welcome():
            return pb.HubFrame(
                welcome=pb.Welcome(
                    protocol=message.protocol,
                    session_id=message.session_id,
                    region=message.region,
                    hub_id=message.hub_id,
                    heartbeat_ms=round(message.heartbeat_s * 1000),
                    credit_bytes=message.credit_bytes,
                    durable_up_to=message.durable_up_to,
                    hubs=message.hubs,
                )
            )
        case Refused():
            return pb.HubFrame(refused=pb.Refused(code=message.code, message=message.message))
        case Desired():
            assignments = [
                pb.Assignment(slot=item.slot, name=item.name, release=item.release, bundle_id=item.bundle_id)
                for item in message.assignments
            ]
            return pb.HubFrame(desired=pb.Desired(generation=message.generation, assignments=assignments))
        case TaskOrder():
            return pb.HubFrame(
                task_order=tasks.TaskOrder(
                    task_id=message.task_id,
                    run_id=message.run_id,
                    message_type=message.kind,
                    round=message.round,
                    deadline_ms=round(message.deadline_s * 1000),
                    content=message.content,
                    parts=message.parts,
                )
            )
        case TaskPart():
            return pb.HubFrame(
                task_part=tasks.TaskPart(task_id=message.task_id, index=message.index, data=message.data)
            )
        case Move():
            return pb.HubFrame(move=pb.Move(hubs=message.hubs, within_ms=round(message.within_s * 1000)))


def decode_hub(frame: pb.HubFrame) -> HubMessage:
    """Return the message of a frame from a hub.

    Raises:
        MalformedFrame: The frame is empty, of an unknown kind, or breaks a bound.
    """
    match frame.WhichOneof("body"):
        case "ack":
            return Ack(checked_stream(frame.ack.stream_id), frame.ack.durable_up_to)
        case "credit":
            return Credit(frame.credit.bytes)
        case "heartbeat_ack":
            return HeartbeatAck(frame.heartbeat_ack.sent_us)
        case "welcome":
            welcome = frame.welcome
            return Welcome(
                session_id=welcome.session_id,
                region=welcome.region,
                hub_id=welcome.hub_id,
                heartbeat_s=welcome.heartbeat_ms / 1000,
                credit_bytes=welcome.credit_bytes,
                durable_up_to=welcome.durable_up_to,
                hubs=tuple(welcome.hubs),
                protocol=welcome.protocol,
            )
        case "refused":
            return Refused(frame.refused.code, frame.refused.message)
        case "desired":
            if len(frame.desired.assignments) > MAX_ASSIGNMENTS:
                raise MalformedFrame(f"{len(frame.desired.assignments)} assignments for one agent")
            return Desired(
                frame.desired.generation,
                tuple(
                    Assignment(item.slot, item.name, item.release, item.bundle_id) for item in frame.desired.assignments
                ),
            )
        case "task_order":
            order = frame.task_order
            if not order.task_id or order.parts > MAX_PARTS or order.message_type not in _TASK_KINDS:
                raise MalformedFrame(f"order {order.task_id!r} of kind {order.message_type!r} in {order.parts} parts")
            return TaskOrder(
                order.task_id,
                order.run_id,
                TaskKind(order.message_type),
                order.round,
                order.deadline_ms / 1000,
                order.content,
                order.parts,
            )
        case "task_part":
            return part_from_pb(frame.task_part)
        case "move":
            return Move(tuple(frame.move.hubs), frame.move.within_ms / 1000)
        case _:
            raise MalformedFrame("frame from a hub is empty or of an unknown kind")
