// Makes the container for pictures in Azurite, which has none when it is new.
//
// usage: AZURE_STORAGE_BLOB_ENDPOINT=http://HOST:PORT/ACCOUNT AZURE_STORAGE_KEY=... node create-container.js
//
// Signs with the account's key (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key),
// because the image of Azurite has Node.js but no client.
const { createHmac } = require("node:crypto");

const endpoint = new URL(process.env.AZURE_STORAGE_BLOB_ENDPOINT);
const container = process.env.AZURE_STORAGE_CONTAINER || "uploads";
const account = endpoint.pathname.split("/")[1];

async function create() {
  const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2024-11-04" };
  const signed = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
  const resource = `/${account}/${account}/${container}\nrestype:container`;
  // The eleven lines between method and headers are those of headers that are not sent.
  const text = `PUT${"\n".repeat(12)}${signed}${resource}`;
  const key = Buffer.from(process.env.AZURE_STORAGE_KEY, "base64");
  const signature = createHmac("sha256", key).update(text).digest("base64");
  headers.authorization = `SharedKey ${account}:${signature}`;
  const url = `${endpoint.origin}/${account}/${container}?restype=container`;
  const answer = await fetch(url, { method: "PUT", headers });
  if (answer.status === 201) return "made";
  if (answer.status === 409) return "is there";
  throw new Error(`HTTP ${answer.status}: ${await answer.text()}`);
}

async function main() {
  for (let left = 30; ; left--) {
    try {
      console.log(`container ${container}: ${await create()}`);
      return;
    } catch (error) {
      if (!left) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

main().catch((error) => {
  console.error(`container ${container}: ${error.message}`);
  process.exit(1);
});
