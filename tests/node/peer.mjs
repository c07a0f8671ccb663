// The real packages, asked in lines of JSON on the standard input and answered likewise; and a server that mounts them.
//
// In options, a text that starts with "hex:" stands for a Buffer; a content that is text is code, for what JSON cannot carry here.
import http from "node:http";
import readline from "node:readline";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // older versions of Node have it, but not there
const clientSessions = (await import("client-sessions")).default;
const iron = { 9: await import("iron-session"), 8: await import("iron-session-8") };

const buffers = (options) =>
  Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name,
      typeof value === "string" && value.startsWith("hex:") ? Buffer.from(value.slice(4), "hex") : value,
    ]),
  );

// What a request does with its session, whichever package has it.
const act = (session, asked) => {
  if (asked.reset) session.reset();
  for (const name of asked.remove ?? []) delete session[name];
  Object.assign(session, asked.write ?? {});
  if (asked.duration) session.setDuration(asked.duration);
  return { ...session };
};

const mounted = [];
const kinds = {
  "client-sessions": (options) => {
    const middleware = clientSessions(options);
    return (req, res, asked) =>
      new Promise((resolve, reject) =>
        middleware(req, res, (error) => (error ? reject(error) : resolve(act(req[options.requestKey ?? options.cookieName], asked)))),
      );
  },
  "iron-session": ({ version, ...options }) => async (req, res, asked) => {
    const session = await iron[version].getIronSession(req, res, options);
    const content = act(session, asked);
    if (asked.write) await session.save();
    return content;
  },
};

const server = http.createServer(async (req, res) => {
  try {
    const { mount, ...asked } = JSON.parse(decodeURIComponent(req.url.slice(1)));
    const content = JSON.stringify(await mounted[mount](req, res, asked));
    res.writeHead(200, { "content-type": "application/json" });
    res.end(content);
  } catch (error) {
    res.writeHead(500, { "content-type": "text/plain" });
    res.end(String(error));
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const answers = {
  about: () => ({ node: process.version, port: server.address().port }),
  mount: ({ kind, options }) => mounted.push(kinds[kind](buffers(options))) - 1,
  seal: ({ options, content, duration, createdAt }) => clientSessions.util.encode(buffers(options), content, duration, createdAt),
  open: ({ options, value }) => clientSessions.util.decode(buffers(options), value) ?? null,
  "iron-seal": ({ version, options, content }) => iron[version].sealData(content, options),
};

// One question, or many at once.
const answer = async ({ ask, content, ...given }) => {
  if (ask === "many") return Promise.all(given.questions.map(answer));
  if (typeof content === "string") content = new Function(`return ${content}`)();
  return answers[ask]({ content, ...given });
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  let said;
  try {
    said = { answer: await answer(JSON.parse(line)) };
  } catch (error) {
    said = { threw: String(error) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
process.exit(0);
