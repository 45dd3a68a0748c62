/** Writes what is filtered to a file, page by page. */

import { getJson } from "./api.js";
import { patiently } from "./patience.js";
import { forService, passes } from "./filters.js";

/** Requests written at most; all of them pass through the memory of the browser. */
export const MOST = 50_000;
/** The most that the service gives at once. */
const PAGE = 500;

const COLUMNS = {
  request_id: (r) => r.request_id,
  timestamp: (r) => r.timestamp,
  image_name: (r) => r.image_name,
  prediction: (r) => r.prediction,
  confidence: (r) => r.confidence,
  processing_time_ms: (r) => r.processing_time,
  cached: (r) => r.cached,
  model_name: (r) => r.model.name,
  model_version: (r) => r.model.version,
  image_format: (r) => r.image_format,
  image_width: (r) => r.image_width,
  image_height: (r) => r.image_height,
  image_sha256: (r) => r.image_sha256,
  image_ref: (r) => r.image_ref,
  user_ip: (r) => r.user_ip,
  client: (r) => r.client,
  instance: (r) => r.instance,
  status: (r) => r.status,
  review_label: (r) => r.review?.label,
  review_note: (r) => r.review?.note,
  reviewer: (r) => r.review?.reviewer,
  reviewed_at: (r) => r.review?.reviewed_at,
  opinion_model: (r) => r.opinion && `${r.opinion.model.name}@${r.opinion.model.version}`,
  opinion_prediction: (r) => r.opinion?.prediction,
  opinion_confidence: (r) => r.opinion?.confidence,
  top: (r) => JSON.stringify(r.top),
};

/** A field of a CSV file (RFC 4180). Spreadsheets would run a text that begins like a formula. */
function cell(value) {
  const text = String(value ?? "");
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const FORMATS = {
  csv: {
    type: "text/csv; charset=utf-8",
    head: `${Object.keys(COLUMNS).join(",")}\r\n`,
    line: (record) => `${Object.values(COLUMNS).map((column) => cell(column(record))).join(",")}\r\n`,
  },
  jsonl: { type: "application/jsonl", head: "", line: (record) => `${JSON.stringify(record)}\n` },
};

/**
 * Collects the requests that the filters leave, newest first.
 * @param {"csv" | "jsonl"} format
 * @param {URLSearchParams} query filters, as in the address
 * @param {{ most?: number, signal?: AbortSignal, onProgress?: (count: number) => void }} [options]
 * @returns {Promise<{ blob: Blob, count: number, complete: boolean }>} `complete` is false if there were more
 */
export async function collect(format, query, { most = MOST, signal, onProgress } = {}) {
  const { type, head, line } = FORMATS[format];
  const parts = [head];
  let count = 0;
  let complete = true;
  let cursor = null;
  do {
    const parameters = forService(query);
    parameters.set("limit", PAGE);
    if (cursor) parameters.set("cursor", cursor);
    const page = await patiently(() => getJson(`requests?${parameters}`, { signal }), { signal });
    const passing = page.requests.filter((record) => passes(query, record));
    const wanted = passing.slice(0, most - count);
    parts.push(wanted.map(line).join(""));
    count += wanted.length;
    cursor = page.next_cursor;
    complete = wanted.length === passing.length && (count < most || !cursor);
    onProgress?.(count);
  } while (cursor && count < most);
  return { blob: new Blob(parts, { type }), count, complete };
}

/** `relance-requests-2026-01-31-1200.csv` */
export function fileName(format, now = new Date()) {
  const local = new Date(now - now.getTimezoneOffset() * 60_000).toISOString();
  return `relance-requests-${local.slice(0, 10)}-${local.slice(11, 16).replace(":", "")}.${format}`;
}
