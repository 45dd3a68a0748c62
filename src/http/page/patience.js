/** Sending no more at once than is welcome, and waiting when the service says so. */

const ATTEMPTS = 20;
/** Longest wait that is sat through, in seconds. */
const LONGEST = 60;
/** Milliseconds over which those who have waited begin again. */
const SPREAD = 250;

let notBefore = 0;

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * Does `work`, again as often as it is refused with 429 or 503 and a Retry-After. All work waits
 * while one has been told to.
 * @param {() => Promise<T>} work
 * @param {{ signal?: AbortSignal, onWait?: (seconds: number) => void }} [options]
 * @returns {Promise<T>}
 * @template T
 */
export async function patiently(work, { signal, onWait } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    for (let wait; (wait = notBefore - Date.now()) > 0; ) {
      onWait?.(Math.ceil(wait / 1000));
      // Not all at the same moment, and farther apart each time.
      await sleep(wait + SPREAD * attempt * Math.random(), signal);
    }
    try {
      return await work();
    } catch (error) {
      const welcomeLater = [429, 503].includes(error.status) && error.retryAfter <= LONGEST;
      if (!welcomeLater || attempt === ATTEMPTS) throw error;
      notBefore = Math.max(notBefore, Date.now() + error.retryAfter * 1000);
    }
  }
}

/** Works through `jobs`, `width` of them at once, in their order. */
export async function inLanes(width, jobs, work) {
  const waiting = [...jobs].values();
  const lane = async () => {
    for (const job of waiting) await work(job);
  };
  await Promise.all(Array.from({ length: width }, lane));
}
