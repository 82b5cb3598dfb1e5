// What ONNX Runtime computes from the exporters' files, for test/Integration/test_exporters.py.
//
//   npm install onnxruntime-node@1.30
//   ALLOW_RELEASED_ONNX_OPSET_ONLY=0 node exporter_outputs.mjs FOLDER OUTPUT.json
//
// FOLDER holds the unpacked exporter files. Each case gives the inputs by rule (see `fill`), so that the test makes the
// same ones, and of each output its shape, the root of its mean square and 16 elements.
import fs from 'fs';
import os from 'os';
import path from 'path';
import { createRequire } from 'module';

const ort = createRequire(path.join(process.cwd(), 'x'))('onnxruntime-node');
const [folder, output] = process.argv.slice(2);

// Token t of row r; element i of the tensor that is input number k.
const token = (r, t) => (37 * t + 53 * r + 5) % 97;
const element = (k, i) => Math.sin(0.7 * i + 1.3 * k + 0.3);

function files(dir) {
  return fs.readdirSync(dir, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1)).flatMap((e) =>
    e.isDirectory() ? files(path.join(dir, e.name)) : e.name.endsWith('.onnx') ? [path.join(dir, e.name)] : []);
}

const count = (shape) => shape.reduce((a, b) => a * b, 1);

function tensor(type, shape, value) {
  const n = count(shape);
  if (type === 'int64') return new ort.Tensor(type, BigInt64Array.from({ length: n }, (_, i) => BigInt(value(i))), shape);
  if (type === 'float32') return new ort.Tensor(type, Float32Array.from({ length: n }, (_, i) => value(i)), shape);
  // Integers of caches: around the middle of their range.
  if (type === 'int8') return new ort.Tensor(type, Int8Array.from({ length: n }, (_, i) => Math.round(100 * value(i))), shape);
  if (type === 'uint8') return new ort.Tensor(type, Uint8Array.from({ length: n }, (_, i) => Math.round(100 * value(i) + 128)), shape);
  if (type === 'bfloat16' || type === 'float16') return new ort.Tensor(type, new Uint16Array(n), shape); // zeros alone
  throw new Error(`input type ${type}`);
}

function number(t, i) {
  const x = t.data[i];
  if (t.type === 'bfloat16') {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint16(2, x, true);
    return view.getFloat32(0, true);
  }
  return Number(x);
}

function record(t) {
  const n = count(t.dims), at = Array.from({ length: Math.min(n, 16) }, (_, k) => Math.floor((k * (n - 1)) / 15));
  let squares = 0;
  for (let i = 0; i < n; ++i) squares += number(t, i) ** 2;
  const round = (x) => (Number.isFinite(x) ? Number(x.toPrecision(8)) : String(x));
  return { shape: [...t.dims], rms: round(Math.sqrt(squares / Math.max(n, 1))), values: at.map((i) => round(number(t, i))) };
}

const isPast = (name) => /^(past|cache_params\.past)/.test(name) || name === 'conv' || name === 'ssm';

// The sizes of symbolic dimensions.
function sizeOf(dim, sizes) {
  if (typeof dim === 'number' && dim >= 0) return dim;
  const known = { batch: sizes.batch, batch_size: sizes.batch, Bt: sizes.batch, seq: sizes.tokens, sequence_length: sizes.tokens,
    L: sizes.tokens, past: 0, past_sequence_length: 0, total: sizes.tokens, total_sequence_length: sizes.tokens,
    kv_cache_dim: sizes.head, Dm: 6, N: 4, G: 2, H: 4, P: 3 };
  if (!(dim in known)) throw new Error(`dimension ${dim}`);
  return known[dim];
}

function feed(session, sizes, rows) {
  const feeds = {};
  session.inputMetadata.forEach((m, k) => {
    const shape = m.shape.map((d) => sizeOf(d, sizes));
    const ids = m.name === 'input_ids' || m.name === 'ids';
    const rule = ids ? (i) => token(rows[Math.floor(i / shape[1])], i % shape[1])
      : m.name === 'attention_mask' ? () => 1
      : m.name === 'position_ids' ? (i) => i % shape[1]
      : m.name === 'token_type_ids' ? () => 0
      : isPast(m.name) ? () => 0
      // A log decay and a decay are not positive, a step is.
      : m.name === 'g' || m.name === 'A' ? (i) => -Math.abs(element(k, i))
      : m.name === 'dt' ? (i) => Math.abs(element(k, i))
      : (i) => element(k, i);
    feeds[m.name] = tensor(m.type, shape, rule);
  });
  return feeds;
}

const outputs = (result) => Object.fromEntries(Object.entries(result).map(([name, t]) => [name, record(t)]));

// MatMulNBits of accuracy level 4 may round activations to 8 bits: the file's meaning is that of level 1, f32.
function exact(file) {
  const bytes = fs.readFileSync(file), name = Buffer.from('accuracy_level');
  let changed = false;
  for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) {
    const value = at + name.length; // field 3, a varint
    if (bytes[value] !== 0x18 || bytes[value + 1] !== 4) continue;
    bytes[value + 1] = 1;
    changed = true;
  }
  if (!changed) return file;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'exact-'));
  fs.cpSync(path.dirname(file), folder, { recursive: true });
  const copy = path.join(folder, path.basename(file));
  fs.writeFileSync(copy, bytes);
  return copy;
}

async function cases(original) {
  const file = exact(original);
  const session = await ort.InferenceSession.create(file, { executionProviders: ['cpu'], logSeverityLevel: 4, intraOpNumThreads: 1,
    // Fused quantised operators round otherwise than the graph says.
    graphOptimizationLevel: /qdq|weight_/.test(original) ? 'disabled' : 'all' });
  const name = path.basename(path.dirname(original)).startsWith('gb_') ? path.basename(path.dirname(original)) : '';
  const sizes = { batch: 1, tokens: 11, head: name ? 32 : 16 };
  const list = [];
  const attempt = async (label, batch, tokens, rows) => {
    try {
      const result = await session.run(feed(session, { ...sizes, batch, tokens }, rows));
      list.push({ case: label, batch, tokens, rows, outputs: outputs(result) });
    } catch (e) {
      list.push({ case: label, batch, tokens, rows, error: String(e.message).split('\n')[0].slice(0, 160) });
    }
  };
  const dims = session.inputMetadata.flatMap((m) => m.shape);
  const ids = session.inputMetadata.find((m) => m.name === 'input_ids' || m.name === 'ids');
  const fixed = ids && typeof ids.shape[1] === 'number' && ids.shape[1] > 0;
  const steps = session.inputNames.includes('conv') && session.inputNames.includes('ssm');
  if (steps) {
    // A decode graph: five steps from empty states.
    let feeds = feed(session, { ...sizes, tokens: 1 }, [0]), result;
    for (let t = 0; t < 5; ++t) {
      feeds.input_ids = tensor('int64', [1, 1], () => token(0, t));
      result = await session.run(feeds);
      feeds = { ...feeds, conv: result.conv_out, ssm: result.ssm_out };
    }
    list.push({ case: 'prefill', batch: 1, tokens: 5, rows: [0], outputs: outputs(result) });
    return list;
  }
  const tokens = fixed ? ids.shape[1] : sizes.tokens;
  if (ids && !fixed && typeof ids.shape[0] === 'string') {
    for (const T of [tokens, 8]) {
      await attempt('prefill', 1, T, [0]);
      if (!list.at(-1).error) break;
      if (T === tokens) list.pop();
    }
    await attempt('batch', 2, list.at(-1)?.tokens ?? tokens, [0, 1]);
    if (list.at(-1).tokens === tokens) await attempt('short', 1, 6, [1]);
    return list;
  }
  await attempt('prefill', 1, tokens, [0]);
  if (dims.some((d) => typeof d === 'string')) await attempt('batch', 2, tokens, [0, 1]);
  return list;
}

const all = {};
for (const file of files(folder)) {
  const name = path.relative(folder, file);
  if (path.basename(file).startsWith('nest')) continue;
  try {
    all[name] = await cases(file);
  } catch (e) {
    all[name] = { error: String(e.message).split('\n')[0].slice(0, 200) };
  }
  console.error(name, JSON.stringify(Array.isArray(all[name]) ? all[name].map((c) => [c.case, c.batch, c.tokens, c.error ?? Object.keys(c.outputs)]) : all[name]));
}
const lines = Object.entries(all).map(([k, v]) => JSON.stringify(k) + ':' + JSON.stringify(v));
fs.writeFileSync(output, '{' + lines.join(',\n') + '}\n');
