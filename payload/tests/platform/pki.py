"""Certificates as kubedos-node writes them, made by openssl(1)."""

import os
import subprocess


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, capture_output=True)


def authority(folder, name="etcd"):
    os.makedirs(folder, exist_ok=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "20",
            "-subj", "/CN=" + name, "-keyout", folder + "/ca.key", "-out", folder + "/ca.pem", "-addext", "basicConstraints=critical,CA:TRUE")


def leaf(ca, folder, name, sans, subject=None):
    """`folder/name.pem` and `.key`, signed by the authority in `ca`; the subject as openssl(1) takes it."""
    os.makedirs(folder, exist_ok=True)
    extensions, request = folder + "/ext", folder + "/request"
    with open(extensions, "w", encoding="ascii") as file:
        file.write(("subjectAltName=%s\n" % ",".join(sans) if sans else "") + "extendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject or "/CN=" + name,
            "-keyout", "%s/%s.key" % (folder, name), "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", ca + "/ca.pem", "-CAkey", ca + "/ca.key", "-CAcreateserial", "-days", "10",
            "-extfile", extensions, "-out", "%s/%s.pem" % (folder, name))
    os.unlink(extensions)
    os.unlink(request)
    if not os.path.exists(folder + "/ca.pem"):
        with open(ca + "/ca.pem", "rb") as held, open(folder + "/ca.pem", "wb") as file:
            file.write(held.read())
