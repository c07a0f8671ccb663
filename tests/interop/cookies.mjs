// Other people's readers of cookies, asked in lines of JSON on the standard input and answered likewise.
//
// Many headers are asked about in one line. Of a Cookie header each pair is read as the pair that opens a Set-Cookie header is:
// RFC 6265bis has one grammar for both.
import readline from "node:readline";
import { parseSetCookie } from "set-cookie-parser";
import { Cookie, CookieJar } from "tough-cookie";

const pairsOf = (header) => header.split(";").filter((pair) => pair.trim() !== "");

// A list of [name, value] for each header; a pair that a reader does not take is not in it.
const cookieHeaders = {
  "tough-cookie": (header) =>
    pairsOf(header)
      .map((pair) => Cookie.parse(pair))
      .filter(Boolean)
      .map(({ key, value }) => [key, value]),
  "set-cookie-parser": (header) =>
    pairsOf(header)
      .map((pair) => parseSetCookie([pair])[0])
      .filter(Boolean)
      .map(({ name, value }) => [name, value]),
};

const capital = (text) => text && text[0].toUpperCase() + text.slice(1).toLowerCase();

const setCookies = {
  "tough-cookie": (header) => {
    const read = Cookie.parse(header);
    return {
      name: read.key,
      value: read.value,
      max_age: read.maxAge,
      path: read.path,
      domain: read.domain,
      secure: read.secure,
      httponly: read.httpOnly,
      samesite: capital(read.sameSite),
      partitioned: (read.extensions ?? []).includes("Partitioned"),
    };
  },
  "set-cookie-parser": (header) => {
    const [read] = parseSetCookie([header]);
    return {
      name: read.name,
      value: read.value,
      max_age: read.maxAge ?? null,
      path: read.path ?? null,
      domain: read.domain ?? null,
      secure: read.secure ?? false,
      httponly: read.httpOnly ?? false,
      samesite: read.sameSite ?? null,
      partitioned: read.partitioned ?? false,
    };
  },
};

// What a client that keeps cookies sends back to `url` after each of some Set-Cookie headers that came from there.
async function kept({ url, headers }) {
  const jar = new CookieJar(undefined, { prefixSecurity: "strict" });
  const sent = [];
  for (const header of headers) {
    await jar.setCookie(header, url);
    sent.push(await jar.getCookieString(url));
  }
  return sent;
}

const all = (readers, headers) =>
  Object.fromEntries(Object.entries(readers).map(([name, read]) => [name, headers.map((header) => read(header))]));

const ANSWERS = {
  cookie_headers: ({ headers }) => all(cookieHeaders, headers),
  set_cookies: ({ headers }) => all(setCookies, headers),
  kept: ({ visits }) => Promise.all(visits.map(kept)),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { ask, ...given } = JSON.parse(line);
  let said;
  try {
    said = { answer: await ANSWERS[ask](given) };
  } catch (error) {
    said = { threw: String(error) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
