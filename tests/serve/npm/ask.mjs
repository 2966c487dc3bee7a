// Ask every address that the client knows; print what came as one JSON object. Arguments: the server's address, and a
// JSON file with the pictures (data URLs, and base64 of PNG for the edit).
import { readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";

const [address, path] = process.argv.slice(2);
const given = JSON.parse(readFileSync(path, "utf-8"));
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0 });
const shown = [
  { role: "user", content: [{ type: "image_url", image_url: { url: given.picture } }, { type: "text", text: "which?" }] },
];
const asked = { model: "answers", messages: shown, max_tokens: 20, temperature: 1, seed: 9 };

const found = { models: [] };
for await (const one of client.models.list()) found.models.push(one.id);
found.retrieved = (await client.models.retrieve("masked")).abilities;
found.embedding = (await client.embeddings.create({ model: "solar", input: given.picture })).data[0].embedding;
found.whole = (await client.chat.completions.create(asked)).choices[0].message.content;
found.pieces = [];
for await (const one of await client.chat.completions.create({ ...asked, stream: true }))
  found.pieces.push(one.choices[0]?.delta?.content ?? "");
found.drawn = (await client.images.generate({ model: "drawer", prompt: "a red block", n: 1 })).data[0].b64_json;
const file = (text, name) => toFile(Buffer.from(text, "base64"), name, { type: "image/png" });
const edit = { model: "masked", image: await file(given.png, "a.png"), mask: await file(given.mask, "b.png"), prompt: "" };
found.edited = (await client.images.edit(edit)).data[0].b64_json;
found.classified = (await client.post("/classify", { body: { model: "solar", images: [given.picture] } })).data[0];
try {
  await client.chat.completions.create({ model: "gpt-4o", messages: shown });
} catch (error) {
  found.refused = { status: error.status, message: error.message, code: error.code, kind: error.constructor.name };
}
console.log(JSON.stringify(found));
