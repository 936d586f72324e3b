"""Reads requests by AWS's own models (botocore) and writes them again: what the model does not know gets lost on the way.

One request a line: {"service", "method", "path", "action", "headers": [[name, value]], "form": [[key, value]], "body"}.
"""

import json
import sys
from urllib.parse import parse_qsl

import botocore.session
from botocore.serialize import create_serializer
from moto.core.parse import PROTOCOL_PARSERS
from requests.structures import CaseInsensitiveDict

session = botocore.session.get_session()
count = 0
for line in sys.stdin:
    request = json.loads(line)
    headers = CaseInsensitiveDict(request["headers"])
    model = session.get_service_model(request["service"])
    if request["service"] == "ec2":
        sent = dict(request["form"])
        operation = model.operation_model(sent["Action"])
        parser = PROTOCOL_PARSERS["ec2"](operation)
        parsed = parser.parse({"method": "POST", "values": sent, "headers": headers, "body": b"", "url_path": "/"})
        again = create_serializer("ec2").serialize_to_request(parsed, operation)["body"]
        again = {k: str(v) for k, v in again.items()}
        assert again == sent, f"sent {sent}, known {again}"
    else:
        operation = model.operation_model(request["action"])
        parts = ["", *request["path"].strip("/").split("/")]
        params = {"snapshotId": parts[2], "blockIndex": parts[-1]} if parts[-2] == "blocks" else {"snapshotId": parts[-1]}
        body = request["body"].encode()
        parser = PROTOCOL_PARSERS["rest-json"](operation)
        parsed = parser.parse(
            {"method": request["method"], "values": {}, "headers": headers, "body": body, "url_path": request["path"], "url_params": params}
        )
        again = create_serializer("rest-json").serialize_to_request(parsed, operation)
        assert (again["method"], again["url_path"]) == (request["method"], request["path"]), again
        ours = ("host", "content-type", "content-length", "user-agent", "accept", "accept-encoding", "authorization", "connection")
        signed = ("x-amz-date", "x-amz-content-sha256")
        sent = {k.lower(): v for k, v in headers.items() if k.lower() not in ours + signed}
        known = {k.lower(): str(v) for k, v in again["headers"].items() if k.lower() not in ours}
        assert known == sent, f"sent {sent}, known {known}"
        if request["action"] == "StartSnapshot":
            assert json.loads(again["body"]) == json.loads(body), again["body"]
    count += 1
print(count)
