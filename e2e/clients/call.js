// Calls the Firehose API with the AWS SDK for JavaScript: reads {"op": …, "input": …} a line from standard input and writes
// {"output": …} or {"error": {"code": …, "message": …, "status": …, "request": …}} a line. Blobs are base64 on both sides.
//
// node call.js <endpoint> <folder with node_modules>
'use strict';
const { createRequire } = require('node:module');
const readline = require('node:readline');

const [endpoint, modules] = process.argv.slice(2);
const sdk = createRequire(modules + '/')('@aws-sdk/client-firehose');
const client = new sdk.FirehoseClient({
  endpoint,
  region: 'us-east-1',
  credentials: { accessKeyId: 'local', secretAccessKey: 'localsecret' },
});

const decoded = (key, value) => (key === 'Data' ? Buffer.from(value, 'base64') : value);

async function call({ op, input }) {
  try {
    const { $metadata, ...output } = await client.send(new sdk[op + 'Command'](input));
    return { output, request: $metadata.requestId };
  } catch (e) {
    return { error: { code: e.name, message: e.message, status: e.$metadata?.httpStatusCode, request: e.$metadata?.requestId } };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await call(JSON.parse(line, decoded))) + '\n');
  }
})();
