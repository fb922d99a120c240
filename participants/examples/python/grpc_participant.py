"""A participant behind gRPC. An answer leaves after its commit; no answer means that nobody knows, and is asked again."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import grpc

from barrier import Command
from loyalty import arguments, start

# The protocol's files are compiled when this starts; nothing generated is kept.
sys.path += [str(Path(__file__).resolve().parents[3] / "proto"), str(files("grpc_tools") / "_proto")]
protos, services = grpc.protos_and_services("amends/v1/participant.proto")


class Participant(services.ParticipantServiceServicer):
    def __init__(self, args, barrier, ended):
        self.args, self.barrier, self.ended = args, barrier, ended

    def Execute(self, request, context):
        command = Command(
            id=request.id, saga_id=request.saga_id, step=request.step,
            operation=protos.Operation.Name(request.operation).lower(), name=request.command, payload=request.payload,
            revision=request.revision, attempt=request.attempt,
            trace=dict(context.invocation_metadata()).get("traceparent", ""))
        reply = self.barrier.answer(command)
        print(f"{command.operation} {command.name} {command.saga_id} {reply.outcome} {command.trace}", flush=True)
        self.ended.wait(self.args.reply_after)
        failure = protos.Failure(code=reply.code, message=reply.message)
        if reply.outcome == "done":
            return protos.Reply(command_id=command.id, done=protos.Done(output=reply.output))
        if reply.outcome == "refused":
            return protos.Reply(command_id=command.id, refused=failure)
        return protos.Reply(command_id=command.id, try_again=protos.TryAgain(failure=failure))

    def Notify(self, request, context):
        return protos.NotifyResponse()  # It subscribes to nothing.

    def Describe(self, request, context):
        return protos.DescribeResponse(commands=[self.args.command])


def main():
    parser = arguments(__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8005", metavar="HOST:PORT")
    args = parser.parse_args()
    barrier, ended = start(args)
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    services.add_ParticipantServiceServicer_to_server(Participant(args, barrier, ended), server)
    server.add_insecure_port(args.listen)
    server.start()
    print(f"{args.participant} answers {args.command} on {args.listen}", flush=True)
    ended.wait()
    server.stop(grace=5).wait()


if __name__ == "__main__":
    main()
