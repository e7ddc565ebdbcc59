"""Decodes a delivered object from stdin to stdout: decode.py <CompressionFormat> <the batch's UUID>."""

import gzip
import io
import sys
import zipfile


def unzip(data, name):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None, "a wrong checksum"
        (entry,) = archive.infolist()
        assert entry.filename == name, entry.filename
        assert entry.compress_type == zipfile.ZIP_DEFLATED, entry.compress_type
        assert entry.date_time == (1980, 1, 1, 0, 0, 0), entry.date_time
        return archive.read(entry)


def xerial(data):
    from kafka.codec import snappy_decode

    if data == b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01":
        return b""  # kafka-python knows no stream without a block; snappy-java reads it as empty
    assert data.startswith(b"\x82SNAPPY\x00"), data[:8]
    return snappy_decode(data)


def hadoop(data):
    from snappy.snappy import HadoopStreamDecompressor

    decompressor = HadoopStreamDecompressor()
    plain = decompressor.decompress(data)
    # An empty block, which is an object without a byte, stays in the decompressor.
    assert decompressor.remains == (data if data == bytes(4) else b""), "not read to its end"
    return plain


def main():
    form, name = sys.argv[1:]
    data = sys.stdin.buffer.read()
    plain = {
        "GZIP": lambda: gzip.decompress(data),
        "ZIP": lambda: unzip(data, name),
        "Snappy": lambda: xerial(data),
        "HADOOP_SNAPPY": lambda: hadoop(data),
    }[form]()
    sys.stdout.buffer.write(plain)


main()
