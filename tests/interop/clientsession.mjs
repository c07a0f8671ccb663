// The clientsession token, version 1, a second time: written from docs/SPEC.md alone, with nothing but Node's own modules.
// It shares no code with the library. Numbers in brackets are sections of SPEC.md.
//
// As a program it is a peer: one JSON question a line on stdin, one JSON answer a line on stdout. Contents go over as JSON text in a
// string, so that this file's own reader and writer of JSON see every number, and binary values as hex.

import crypto from "node:crypto";
import readline from "node:readline";
import zlib from "node:zlib";

export class Refused extends Error {
  constructor(reason, question) {
    super(reason);
    this.reason = reason;
    this.question = question;
  }
}

const MALFORMED = "malformed";
const UNKNOWN_KEY = "unknown_key";
const FORGED = "forged";
const FUTURE = "future";
const EXPIRED = "expired";
const AMBIGUOUS = "ambiguous";

const PREFIX = "csk1_";
const HAS_ID = 0x01;
const DEFLATED = 0x02;
const EPHEMERAL = 0x04;
const KNOWN_FLAGS = HAS_ID | DEFLATED | EPHEMERAL;
const LEAST_CHARS = 60;
const MOST_INFLATED = 65536;
const MOST_LEVELS = 64;
const MOST_MILLISECONDS = 2 ** 48 - 1;
const CLOCKS_DIFFER_MS = 60000;
const COOKIE_BYTES = 4096;
const HEADER_BYTES = 65536;
const CANDIDATES = 4;

const wellFormed = (text) => !/\p{Cs}/u.test(text);

const utf8 = (text) => {
  if (!wellFormed(text)) throw new Error("a lone surrogate has no UTF-8");
  return Buffer.from(text, "utf8");
};

// [1] One spelling.

export const spell = (bytes) => bytes.toString("base64url");

export function unspell(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return null;
  const bytes = Buffer.from(text, "base64url");
  return spell(bytes) === text ? bytes : null;
}

// [2] Keys.

const le64 = (number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(number));
  return bytes;
};

export const pae = (...parts) => Buffer.concat([le64(parts.length), ...parts.flatMap((part) => [le64(part.length), part])]);

const hmac = (key, data) => crypto.createHmac("sha256", key).update(data).digest();

// At most 32 bytes are asked for: one round of RFC 5869's T.
const expand = (prk, info, length) => hmac(prk, Buffer.concat([info, Buffer.of(1)])).subarray(0, length);

function checkSecret(secret) {
  if (secret.length < 32 || secret.length > 1024) throw new Error("a secret has 32 to 1,024 bytes");
  if (new Set(secret).size < 10) throw new Error("a secret has 10 different byte values or more");
  if (secret.subarray(0, 16).includes(PREFIX)) throw new Error("this is a key as text, not a secret");
}

const checksumOf = (suite, secret) =>
  crypto.createHash("sha256").update(PREFIX).update(Buffer.of(suite)).update(secret).digest().subarray(0, 4);

export class Key {
  #secret;
  #prk;

  constructor(suite, secret) {
    if (!SUITES.has(suite)) throw new Error("not a suite I know");
    checkSecret(secret);
    this.suite = suite;
    this.#secret = secret;
    this.#prk = hmac("clientsession/v1", secret);
    this.id = expand(this.#prk, pae(Buffer.from("kid"), Buffer.of(suite)), 4);
  }

  static parse(text) {
    if (!text.startsWith(PREFIX)) throw new Error("a key begins with csk1_");
    const bytes = unspell(text.slice(PREFIX.length));
    if (bytes === null || bytes.length < 5) throw new Error("not the spelling of a key");
    const [suite, secret, checksum] = [bytes[0], bytes.subarray(1, -4), bytes.subarray(-4)];
    if (!checksumOf(suite, secret).equals(checksum)) throw new Error("the checksum does not fit");
    return new Key(suite, secret);
  }

  export() {
    return PREFIX + spell(Buffer.concat([Buffer.of(this.suite), this.#secret, checksumOf(this.suite, this.#secret)]));
  }

  get prk() {
    return this.#prk;
  }

  sealing({ kind, name, audience }) {
    return expand(this.#prk, pae(Buffer.from("seal"), Buffer.of(this.suite), utf8(kind), utf8(name), utf8(audience)), 32);
  }

  aad({ kind, name, audience }) {
    return pae(Buffer.concat([Buffer.of(this.suite), this.id]), utf8(kind), utf8(name), utf8(audience));
  }
}

export function ring(texts) {
  const keys = texts.map(Key.parse);
  if (new Set(keys.map((key) => key.id.toString("hex"))).size !== keys.length) throw new Error("two keys of one id");
  return keys;
}

function checkPurpose({ kind, name, audience }) {
  if (!["cookie", "token", "header"].includes(kind)) throw new Error("not a kind");
  for (const [text, least] of [[name, 1], [audience, 0]]) {
    const { length } = utf8(text);
    if (length < least || length > 256) throw new Error(`${least} to 256 bytes`);
    if (/[\u0000-\u001f\u007f]/.test(text)) throw new Error("a control character");
  }
}

// [3] Suites. Each makes a 256-bit subkey and a 12-byte nonce for a cipher that Node has.

function cmacOfOneBlock(key, block) {
  const encrypt = (data) => {
    const cipher = crypto.createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
    return Buffer.concat([cipher.update(data), cipher.final()]);
  };
  // SP 800-38B, 6.1: K1 is L doubled in GF(2^128).
  const l = encrypt(Buffer.alloc(16));
  const k1 = Buffer.alloc(16);
  for (let i = 0; i < 16; i++) k1[i] = (l[i] << 1) | (i < 15 ? l[i + 1] >> 7 : 0);
  if (l[0] & 0x80) k1[15] ^= 0x87;
  return encrypt(Buffer.from(block.map((byte, i) => byte ^ k1[i])));
}

export const xaesSubkey = (key, nonce) =>
  Buffer.concat([1, 2].map((n) => cmacOfOneBlock(key, Buffer.concat([Buffer.of(0, n, 0x58, 0), nonce.subarray(0, 12)]))));

// draft-irtf-cfrg-xchacha-03, 2.2: ChaCha20's rounds without the final addition; the first and last rows are the key.
export function hchacha20(key, nonce) {
  const s = new Uint32Array(16);
  s.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);
  for (let i = 0; i < 8; i++) s[4 + i] = key.readUInt32LE(4 * i);
  for (let i = 0; i < 4; i++) s[12 + i] = nonce.readUInt32LE(4 * i);
  const turn = (x, n) => (x << n) | (x >>> (32 - n));
  const quarter = (a, b, c, d) => {
    for (const [first, second] of [[16, 12], [8, 7]]) {
      s[a] += s[b];
      s[d] = turn(s[d] ^ s[a], first);
      s[c] += s[d];
      s[b] = turn(s[b] ^ s[c], second);
    }
  };
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i);
    for (let i = 0; i < 4; i++) quarter(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4));
  }
  const out = Buffer.alloc(32);
  [0, 1, 2, 3, 12, 13, 14, 15].forEach((word, i) => out.writeUInt32LE(s[word], 4 * i));
  return out;
}

const SUITES = new Map([
  [1, { cipher: "aes-256-gcm", subkey: xaesSubkey, nonce: (nonce) => nonce.subarray(12) }],
  [2, { cipher: "chacha20-poly1305", subkey: hchacha20, nonce: (nonce) => Buffer.concat([Buffer.alloc(4), nonce.subarray(16)]) }],
]);

const TAG = { authTagLength: 16 };

function encrypt(suite, key, nonce, plaintext, aad) {
  const { cipher, subkey, nonce: inner } = SUITES.get(suite);
  const made = crypto.createCipheriv(cipher, subkey(key, nonce), inner(nonce), TAG);
  made.setAAD(aad, { plaintextLength: plaintext.length });
  return Buffer.concat([made.update(plaintext), made.final(), made.getAuthTag()]);
}

function decrypt(suite, key, nonce, sealed, aad) {
  const { cipher, subkey, nonce: inner } = SUITES.get(suite);
  const made = crypto.createDecipheriv(cipher, subkey(key, nonce), inner(nonce), TAG);
  made.setAAD(aad, { plaintextLength: sealed.length - 16 });
  made.setAuthTag(sealed.subarray(-16));
  const plaintext = made.update(sealed.subarray(0, -16));
  try {
    made.final();
  } catch {
    return null;
  }
  return plaintext;
}

// [4] The body. Integers are BigInts, other numbers Numbers, objects Maps: `1` and `1.0` differ here, and no key is special.

const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES = new Map(Object.entries({ '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }));
const [LEAST_INTEGER, MOST_INTEGER] = [-(2n ** 63n), 2n ** 63n - 1n];

// RFC 8259, and of what a reader may refuse [4] all: it takes what a writer may write.
class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail() {
    throw new SyntaxError("not a body");
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) this.fail();
    this.at = pattern.lastIndex;
    return found;
  }

  take(character) {
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  expect(character) {
    if (!this.take(character)) this.fail();
  }

  space() {
    this.match(SPACE);
  }

  value(level) {
    const next = this.text[this.at];
    if (next === "{") return this.object(level + 1);
    if (next === "[") return this.array(level + 1);
    if (next === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  number() {
    const [spelt, fraction, exponent] = this.match(NUMBER);
    if (fraction === undefined && exponent === undefined) {
      if (spelt.length > 20) this.fail();
      const integer = BigInt(spelt);
      if (integer < LEAST_INTEGER || integer > MOST_INTEGER) this.fail();
      return integer;
    }
    const number = Number(spelt);
    if (!Number.isFinite(number)) this.fail();
    return number;
  }

  string() {
    this.expect('"');
    let read = this.match(PLAIN)[0];
    while (this.take("\\")) {
      const kind = this.text[this.at++];
      if (kind === "u") {
        read += String.fromCharCode(parseInt(this.match(/[0-9A-Fa-f]{4}/y)[0], 16));
      } else if (ESCAPES.has(kind)) {
        read += ESCAPES.get(kind);
      } else {
        this.fail();
      }
      read += this.match(PLAIN)[0];
    }
    this.expect('"');
    if (!wellFormed(read)) this.fail();
    return read;
  }

  array(level) {
    if (level > MOST_LEVELS) this.fail();
    const read = [];
    this.expect("[");
    this.space();
    if (this.take("]")) return read;
    do {
      this.space();
      read.push(this.value(level));
      this.space();
    } while (this.take(","));
    this.expect("]");
    return read;
  }

  object(level) {
    if (level > MOST_LEVELS) this.fail();
    const read = new Map();
    this.expect("{");
    this.space();
    if (this.take("}")) return read;
    do {
      this.space();
      const name = this.string();
      if (read.has(name)) this.fail();
      this.space();
      this.expect(":");
      this.space();
      read.set(name, this.value(level));
      this.space();
    } while (this.take(","));
    this.expect("}");
    return read;
  }
}

export function readBody(bytes) {
  if (bytes.length === 0) return new Map();
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  const reader = new Reader(text);
  const content = reader.object(1);
  if (!/^ *$/.test(text.slice(reader.at))) reader.fail();
  return content;
}

export function writeJSON(value, level = 1) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "bigint") {
    if (value < LEAST_INTEGER || value > MOST_INTEGER) throw new Error("not within 64 bits");
    return String(value);
  }
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Error("not finite");
    const shortest = Object.is(value, -0) ? "-0" : String(value);
    return /[.e]/.test(shortest) ? shortest : `${shortest}.0`;
  }
  if (typeof value === "string") {
    if (!wellFormed(value)) throw new Error("a lone surrogate");
    return JSON.stringify(value);
  }
  if (level > MOST_LEVELS) throw new Error("more than 64 levels");
  if (Array.isArray(value)) return `[${value.map((item) => writeJSON(item, level + 1)).join(",")}]`;
  return `{${[...value].map(([name, item]) => `${writeJSON(name)}:${writeJSON(item, level + 1)}`).join(",")}}`;
}

function inflate(bytes) {
  const { buffer, engine } = zlib.inflateRawSync(bytes, { maxOutputLength: MOST_INFLATED, info: true });
  if (engine.bytesWritten !== bytes.length) throw new Error("something after the stream");
  return buffer;
}

// [5] Sealing.

function checkTimes(createdMs, expiresMs, nowMs, maxDurationMs) {
  if (![createdMs, expiresMs].every((ms) => Number.isInteger(ms) && ms >= 0 && ms <= MOST_MILLISECONDS)) throw new Error("not a time");
  if (expiresMs <= nowMs) throw new Error("it would be over");
  if (expiresMs < createdMs) throw new Error("it would end before it begins");
  if (maxDurationMs !== null && expiresMs > createdMs + maxDurationMs) throw new Error("it would outlive the longest lifetime");
}

const limitOf = ({ kind, name, maxChars }) => maxChars ?? (kind === "cookie" ? COOKIE_BYTES - utf8(name).length : 4096);

export function seal(key, purpose, { content, createdMs, expiresMs, id = null, ephemeral = false }, options) {
  const { nowMs, maxDurationMs = null, deflate = false, fill = 1 } = options;
  checkPurpose(purpose);
  checkTimes(createdMs, expiresMs, nowMs, maxDurationMs);
  let body = content.size === 0 ? Buffer.alloc(0) : utf8(writeJSON(content));
  if (deflate) {
    body = zlib.deflateRawSync(body);
  } else if (fill > 1) {
    // Spaces alone are no body: an empty one is written out before it is filled. And nothing becomes too large by filling it.
    if (body.length === 0) body = Buffer.from("{}");
    const beside = id === null ? 0 : 16;
    const most = Math.floor((limitOf(purpose) * 3) / 4) - 58 - beside;
    const wanted = Math.min(Math.ceil((beside + body.length) / fill) * fill - beside, most);
    body = Buffer.concat([body, Buffer.alloc(Math.max(0, wanted - body.length), " ")]);
  }
  const head = Buffer.alloc(13);
  head[0] = (id === null ? 0 : HAS_ID) | (deflate ? DEFLATED : 0) | (ephemeral ? EPHEMERAL : 0);
  head.writeUIntBE(createdMs, 1, 6);
  head.writeUIntBE(expiresMs, 7, 6);
  if (id !== null && id.length !== 16) throw new Error("an id has 16 bytes");
  const token = sealPlaintext(key, purpose, crypto.randomBytes(24), Buffer.concat([head, id ?? Buffer.alloc(0), body]));
  if (token.length > limitOf(purpose)) throw new Error("too large");
  return token;
}

function sealPlaintext(key, purpose, nonce, plaintext) {
  const sealed = encrypt(key.suite, key.sealing(purpose), nonce, plaintext, key.aad(purpose));
  return spell(Buffer.concat([Buffer.of(key.suite), key.id, nonce, sealed]));
}

// [6] Opening. The questions by their numbers.

function candidate(keys, purpose, token) {
  const frame = token.length >= LEAST_CHARS && token.length <= limitOf(purpose) ? unspell(token) : null;
  if (frame === null) throw new Refused(MALFORMED, 1);
  if (!SUITES.has(frame[0])) throw new Refused(MALFORMED, 2);
  const key = keys.find(({ suite, id }) => suite === frame[0] && id.equals(frame.subarray(1, 5)));
  if (key === undefined) throw new Refused(UNKNOWN_KEY, 3);
  return { frame, key };
}

function openCandidate({ frame, key }, purpose, { nowMs, maxDurationMs = null }) {
  const plaintext = decrypt(key.suite, key.sealing(purpose), frame.subarray(5, 29), frame.subarray(29), key.aad(purpose));
  if (plaintext === null) throw new Refused(FORGED, 4);
  const flags = plaintext.length > 0 ? plaintext[0] : 0xff;
  const head = flags & HAS_ID ? 29 : 13;
  if (plaintext.length < head || flags & ~KNOWN_FLAGS) throw new Refused(MALFORMED, 5);
  const [createdMs, expiresMs] = [plaintext.readUIntBE(1, 6), plaintext.readUIntBE(7, 6)];
  if (expiresMs < createdMs) throw new Refused(MALFORMED, 6);
  if (createdMs > nowMs + CLOCKS_DIFFER_MS) throw new Refused(FUTURE, 7);
  const endsMs = maxDurationMs === null ? expiresMs : Math.min(expiresMs, createdMs + maxDurationMs);
  if (nowMs >= endsMs) throw new Refused(EXPIRED, 8);
  let content;
  try {
    const body = plaintext.subarray(head);
    content = readBody(flags & DEFLATED ? inflate(body) : body);
  } catch {
    throw new Refused(MALFORMED, 9);
  }
  const id = flags & HAS_ID ? plaintext.subarray(13, 29) : null;
  return { content, createdMs, expiresMs: endsMs, id, ephemeral: Boolean(flags & EPHEMERAL), deflated: Boolean(flags & DEFLATED), key };
}

export function open(keys, purpose, token, options) {
  checkPurpose(purpose);
  return openCandidate(candidate(keys, purpose, token), purpose, options);
}

const stripped = (text) => text.replace(/^[ \t]+/, "").replace(/[ \t]+$/, "");

// The session of a Cookie header, each of its characters one byte; null where the header has no cookie of the name.
export function openCookie(keys, purpose, header, options) {
  checkPurpose(purpose);
  if (header.length > HEADER_BYTES) throw new Refused(MALFORMED, 1);
  const values = new Set();
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals >= 0 && stripped(pair.slice(0, equals)) === purpose.name) values.add(stripped(pair.slice(equals + 1)));
  }
  let refused = null;
  const opened = [];
  const candidates = [];
  const attempt = (step, into) => {
    try {
      into.push(step());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (refused === null || error.question > refused.question) refused = error;
    }
  };
  for (const value of values) attempt(() => candidate(keys, purpose, value), candidates);
  if (candidates.length > CANDIDATES) throw new Refused(AMBIGUOUS, null);
  for (const one of candidates) attempt(() => openCandidate(one, purpose, options), opened);
  if (opened.length > 1) throw new Refused(AMBIGUOUS, null);
  if (opened.length === 1) return opened[0];
  if (refused !== null) throw refused;
  return null;
}

// The peer.

const hex = (bytes) => bytes.toString("hex");
const bytesOf = (text) => Buffer.from(text, "hex");

const described = (session) =>
  session && {
    content: writeJSON(session.content),
    created_ms: session.createdMs,
    expires_ms: session.expiresMs,
    id: session.id && hex(session.id),
    ephemeral: session.ephemeral,
    deflated: session.deflated,
    key_id: hex(session.key.id),
  };

const purposeOf = ({ kind, name, audience = "", max_chars: maxChars }) => ({ kind, name, audience, maxChars });
const readingOf = ({ now_ms: nowMs, max_duration_ms: maxDurationMs = null }) => ({ nowMs, maxDurationMs });

const ANSWERS = {
  about: () => ({ node: process.version }),
  parse: ({ key }) => {
    const parsed = Key.parse(key);
    return { suite: parsed.suite, id: hex(parsed.id), text: parsed.export() };
  },
  key: ({ suite, secret }) => {
    const made = new Key(suite, bytesOf(secret));
    return { suite: made.suite, id: hex(made.id), text: made.export() };
  },
  ring: ({ keys }) => ring(keys).map((key) => hex(key.id)),
  open: (asked) => described(open(ring(asked.keys), purposeOf(asked), asked.token, readingOf(asked))),
  cookie: (asked) => described(openCookie(ring(asked.keys), purposeOf(asked), asked.header, readingOf(asked))),
  seal: (asked) => {
    const session = {
      content: readBody(utf8(asked.content)),
      createdMs: asked.created_ms,
      expiresMs: asked.expires_ms,
      id: asked.id && bytesOf(asked.id),
      ephemeral: asked.ephemeral,
    };
    return seal(Key.parse(asked.key), purposeOf(asked), session, { ...readingOf(asked), deflate: asked.deflate, fill: asked.fill });
  },
  // Every value on the way to a token, for a plaintext and a nonce that are given: to be held against the vectors, never to seal with.
  derive: (asked) => {
    const key = Key.parse(asked.key);
    const purpose = purposeOf(asked);
    const [nonce, sealing] = [bytesOf(asked.nonce), key.sealing(purpose)];
    return {
      suite: key.suite,
      key_text: key.export(),
      prk: hex(key.prk),
      key_id: hex(key.id),
      key: hex(sealing),
      aad: hex(key.aad(purpose)),
      subkey: hex(SUITES.get(key.suite).subkey(sealing, nonce)),
      token: sealPlaintext(key, purpose, nonce, bytesOf(asked.plaintext)),
    };
  },
};

function answer(line) {
  try {
    const { ask, ...given } = JSON.parse(line);
    return { answer: ANSWERS[ask](given) };
  } catch (error) {
    if (error instanceof Refused) return { refused: error.reason };
    return { threw: String(error) };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(line))}\n`);
}
