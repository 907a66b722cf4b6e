"""Frames from agents: who adds a message adds a case on each side and one to the property test."""

from __future__ import annotations

from nervure.v1 import session_pb2 as pb
from nervure.v1 import tasks_pb2 as tasks
from nervure_core.codec.shared import (
    MAX_PARTS,
    MalformedFrame,
    batch_from_pb,
    batch_to_pb,
    checked_stream,
    part_from_pb,
    running_from_pb,
    running_to_pb,
    status_from_pb,
    status_to_pb,
)
from nervure_core.events import EventBatch
from nervure_core.messages import (
    AgentMessage,
    DeploymentReport,
    DeploymentState,
    Goodbye,
    Heartbeat,
    Hello,
    Lost,
    TaskPart,
    TaskResult,
)

_STATES = {
    DeploymentState.FETCHING: pb.DEPLOYMENT_STATE_FETCHING,
    DeploymentState.RUNNING: pb.DEPLOYMENT_STATE_RUNNING,
    DeploymentState.FAILED: pb.DEPLOYMENT_STATE_FAILED,
}
_STATES_BACK = {value: state for state, value in _STATES.items()}


def encode_agent(message: AgentMessage) -> pb.AgentFrame:
    """Return the frame of a message from an agent."""
    match message:
        case EventBatch():
            return pb.AgentFrame(events=batch_to_pb(message))
        case Hello():
            return pb.AgentFrame(
                hello=pb.Hello(
                    protocol=message.protocol,
                    agent_id=message.agent_id,
                    version=message.version,
                    labels=message.labels,
                    home_region=message.home_region,
                    stream_id=message.stream_id,
                    next_seq=message.next_seq,
                    workload=message.workload,
                    running=running_to_pb(message.running),
                    can_train=message.can_train,
                    examples=message.examples,
                )
            )
        case Heartbeat():
            return pb.AgentFrame(heartbeat=pb.Heartbeat(sent_us=message.sent_us, status=status_to_pb(message.status)))
        case TaskResult():
            return pb.AgentFrame(
                task_result=tasks.TaskResult(
                    task_id=message.task_id,
                    run_id=message.run_id,
                    round=message.round,
                    ok=message.ok,
                    error=message.error,
                    content=message.content,
                    parts=message.parts,
                )
            )
        case TaskPart():
            return pb.AgentFrame(
                task_part=tasks.TaskPart(task_id=message.task_id, index=message.index, data=message.data)
            )
        case Lost():
            return pb.AgentFrame(
                lost=pb.Lost(
                    stream_id=message.stream_id,
                    from_seq=message.from_seq,
                    to_seq=message.to_seq,
                    reason=message.reason,
                )
            )
        case DeploymentReport():
            return pb.AgentFrame(
                deployment=pb.DeploymentReport(
                    name=message.name,
                    release=message.release,
                    bundle_id=message.bundle_id,
                    state=_STATES[message.state],
                    message=message.message,
                )
            )
        case Goodbye():
            return pb.AgentFrame(goodbye=pb.Goodbye(reason=message.reason))


def decode_agent(frame: pb.AgentFrame) -> AgentMessage:
    """Return the message of a frame from an agent.

    Raises:
        MalformedFrame: The frame is empty, of an unknown kind, or breaks a bound.
    """
    match frame.WhichOneof("body"):
        case "events":
            return batch_from_pb(frame.events)
        case "hello":
            hello = frame.hello
            return Hello(
                agent_id=hello.agent_id,
                version=hello.version,
                stream_id=checked_stream(hello.stream_id),
                next_seq=hello.next_seq,
                labels=dict(hello.labels),
                home_region=hello.home_region,
                workload=hello.workload,
                running=running_from_pb(hello.running),
                can_train=hello.can_train,
                examples=hello.examples,
                protocol=hello.protocol,
            )
        case "heartbeat":
            return Heartbeat(frame.heartbeat.sent_us, status_from_pb(frame.heartbeat.status))
        case "task_result":
            result = frame.task_result
            if not result.task_id or result.parts > MAX_PARTS:
                raise MalformedFrame(f"result of task {result.task_id!r} in {result.parts} parts")
            return TaskResult(
                result.task_id, result.run_id, result.round, result.ok, result.error, result.content, result.parts
            )
        case "task_part":
            return part_from_pb(frame.task_part)
        case "lost":
            lost = frame.lost
            if lost.to_seq <= lost.from_seq:
                raise MalformedFrame(f"lost [{lost.from_seq}, {lost.to_seq}) is empty")
            return Lost(checked_stream(lost.stream_id), lost.from_seq, lost.to_seq, lost.reason)
        case "deployment":
            report = frame.deployment
            if report.state not in _STATES_BACK:
                raise MalformedFrame(f"deployment state {report.state}")
            return DeploymentReport(
                report.name, report.release, report.bundle_id, _STATES_BACK[report.state], report.message
            )
        case "goodbye":
            return Goodbye(frame.goodbye.reason)
        case None:
            raise MalformedFrame("frame from an agent is empty or of an unknown kind")
