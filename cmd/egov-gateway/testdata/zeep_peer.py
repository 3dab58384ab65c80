"""A portal with a SOAP stack of its own: Debian's python3-zeep and python3-xmlsec.

It knows nothing of the gateway but its WSDL, or the published one and an address. It reads a JSON object from standard input, drives
SyncChannel and AsyncChannel, takes pushed messages, and writes what it saw as JSON.
"""
import base64
import datetime
import http.server
import json
import sys
import threading
import time
import uuid

import xmlsec
from lxml import etree
from zeep import Client, Settings, Transport, exceptions, xsd
from zeep.wsse.signature import BinarySignature, Signature, verify_envelope

ALMATY = datetime.timezone(datetime.timedelta(hours=5))
EXCHANGE = "urn:egov-gateway:exchange:1"


def now():
    return datetime.datetime.now(ALMATY)


def text(doc):
    return xsd.AnyObject(xsd.String(), doc)


class Checked:
    """Signs with the portal's key, and wants every answer signed by the gateway."""

    def __init__(self, job):
        super().__init__(job["key"], job["certificate"], signature_method=xmlsec.Transform.RSA_SHA256, digest_method=xmlsec.Transform.SHA256)
        self.gateway = job["gateway_certificate"]
        self.verified = 0

    def verify(self, envelope):
        verify_envelope(envelope, self.gateway)
        self.verified += 1
        return envelope


class Signed(Checked, BinarySignature):
    """The certificate in a token of its own."""


class SignedByDefault(Checked, Signature):
    """The certificate in X509Data, behind issuer and serial number: what zeep does when nobody asks for anything else."""


PUBLISHED = {
    "sync": ("SyncChannel/v10/Interfaces/SyncChannelHttp_Service.wsdl", "{http://bip.bee.kz/SyncChannel/v10/Interfaces/Binding2}SyncChannelHttpBinding"),
    "async": ("AsyncChannel/v10/Interfaces/AsyncChannelHttp_Service.wsdl", "{http://bip.bee.kz/AsyncChannel/v10/Interfaces/Binding}AsyncChannelHttpBinding"),
    "client": ("AsyncChannel/v10/Interfaces/AsyncChannelClientHttp_Service.wsdl", "{http://bip.bee.kz/AsyncChannel/v10/Interfaces/Client/Binding}AsyncChannelClientHttpBinding"),
}


def connect(job, channel, wsse=None):
    """The contract's binding, and a service at the gateway's address."""
    address = job["base"] + "/shep/" + channel
    file, name = PUBLISHED[channel]
    url = job["contract"] + "/" + file if job["contract"] else address + "?wsdl"
    client = Client(url, wsse=wsse, transport=Transport(timeout=20, operation_timeout=20), settings=Settings(strict=True))
    return client.wsdl.bindings[name], client.create_service(name, address)


def wait(what, ask, until):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        got = ask()
        if until(got):
            return got
        time.sleep(0.1)
    raise TimeoutError(what)


def sync(job, out):
    _, service = connect(job, "sync")
    sender = {"senderId": job["sender"], "password": job["password"]}

    def send(data, service_id=job["service"]):
        return service.SendMessage(request={
            "requestInfo": {"messageId": str(uuid.uuid4()), "serviceId": service_id, "messageDate": now(), "sender": sender},
            "requestData": {"data": text(data)}})

    def question(name):
        return send('<%s xmlns="%s"><requestId>%s</requestId></%s>' % (name, EXCHANGE, out["sync_id"], name))

    first = send(job["sync_request"])
    out["sync_status"] = first.responseInfo.status.code
    out["sync_session"] = first.responseInfo.sessionId
    out["sync_receipt"] = first.responseData.data
    out["sync_id"] = etree.fromstring(out["sync_receipt"].encode()).findtext("{urn:egov-gateway:receipt:1}requestId")

    def state(answer):
        return etree.fromstring(answer.responseData.data.encode()).findtext("{%s}state" % EXCHANGE)

    out["sync_state"] = state(wait("closed", lambda: question("statusRequest"), lambda a: state(a) == "closed"))
    out["sync_result"] = question("resultRequest").responseData.data
    try:
        send(job["sync_request"], "NO-SUCH-SERVICE")
    except exceptions.Fault as fault:
        info = fault.detail[0]
        out["fault"] = [fault.code, etree.QName(info).localname, info.findtext("errorCode"), info.findtext("errorData")]


def pull(job, out):
    _, service = connect(job, "async")
    sender = {"senderId": job["sender"], "password": job["password"]}
    receipt = service.sendMessage(request={
        "messageInfo": {"serviceId": job["service"], "messageType": "REQUEST", "messageDate": now(), "sender": sender},
        "messageData": {"data": text(job["pull_request"])}})
    out["pull_id"], out["pull_chain"] = receipt.messageId, receipt.correlationId

    def status(message):
        return service.getMessageStatus(request={"messageId": message, "requestDate": now(), "sender": sender}).messageState

    def messages():
        return service.getMessages(request={"serviceId": job["service"], "correlationId": receipt.correlationId, "sender": sender}).messages

    def confirm(message, receive="MESSAGE_ACCEPTED", resend="NOT_RESEND"):
        return service.sendDeliveryNotification(request={
            "notification": {"messageId": message, "serviceId": job["service"], "notificationDate": now(),
                             "deliveryStatus": {"receiveStatus": receive, "statusDate": now(), "resendMessage": resend}},
            "requestDate": now(), "sender": sender})

    waiting = wait("a RESPONSE", messages, lambda all: any(m.messageInfo.messageType == "RESPONSE" for m in all))
    out["pull_state"] = status(receipt.messageId)
    out["pull_types"] = [m.messageInfo.messageType for m in waiting]
    out["pull_result"] = waiting[-1].messageData.data
    confirm(waiting[-1].messageInfo.messageId, "MESSAGE_NOT_ACCTEPTED", "RESEND")
    out["pull_after_resend"] = len(messages())
    for m in waiting:
        confirm(m.messageInfo.messageId)
    out["pull_after_confirmation"] = len(messages())


def push(job, out):
    wsse = Signed(job)
    binding, _ = connect(job, "client")
    got, changed = [], []

    class Participant(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            envelope = etree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
            wsse.verify(envelope)
            operation = binding.get(etree.QName(envelope.find("{*}Body")[0]).localname)
            request = operation.input.deserialize(envelope)
            if operation.name == "sendMessage":
                got.append(request)
                response = {"messageId": request.messageInfo.messageId, "correlationId": request.messageInfo.correlationId, "responseDate": now()}
            else:
                changed.append(request.notification)
                response = {"responseDate": now(), "sessionId": request.sessionId}
            answer = operation.output.serialize(response=response)
            signed, _ = wsse.apply(answer.content, {})
            body = etree.tostring(signed)
            self.send_response(200)
            self.send_header("Content-Type", "text/xml; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", job["push_port"]), Participant)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    by_default = SignedByDefault(job)
    _, service = connect(job, "async", by_default)
    receipt = service.sendMessage(request={
        "messageInfo": {"serviceId": job["service"], "messageType": "REQUEST", "messageDate": now(), "sender": {"senderId": job["push_sender"]}},
        "messageData": {"data": text(job["push_request"])}})
    wait("a pushed RESPONSE", lambda: got, lambda all: any(m.messageInfo.messageType == "RESPONSE" for m in all))
    server.shutdown()
    out["push_id"], out["push_verified"] = receipt.messageId, wsse.verified + by_default.verified
    out["push_types"] = [m.messageInfo.messageType for m in got]
    out["push_chains"] = sorted({m.messageInfo.correlationId for m in got})
    out["push_chain"] = receipt.correlationId
    out["push_result"] = got[-1].messageData.data
    out["push_changed"] = [[n.messageId, n.messageState] for n in changed]


def main():
    job, out = json.load(sys.stdin), {}
    for step in (sync, pull, push):
        step(job, out)
    json.dump(out, sys.stdout)


main()
