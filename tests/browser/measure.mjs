// What the journey measures inside the page. Each function is sent to the browser as it stands,
// so it can use nothing from outside itself.

/** Notes every progress that the page shows, however short. For a page before its own scripts run. */
export function watchProgress() {
  globalThis.progressSeen = new Set();
  const note = () => {
    const percent = document.querySelector("[data-progress]")?.dataset.progress;
    if (percent !== undefined) globalThis.progressSeen.add(Number(percent));
  };
  new MutationObserver(note).observe(document, { attributes: true, childList: true, subtree: true });
}

/** Plays a `<video>` for a second: how long it lasts, how large it is, and whether it moves. */
export async function playback(video) {
  if (video.readyState < 2)
    await new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
  video.loop = true;
  await video.play();
  const started = video.currentTime;
  let advanced = 0;
  let last = started;
  const until = performance.now() + 1500;
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const step = video.currentTime - last;
    advanced += step >= 0 ? step : video.currentTime;
    last = video.currentTime;
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const brush = canvas.getContext("2d");
  brush.drawImage(video, 0, 0, 32, 32);
  const { data } = brush.getImageData(0, 0, 32, 32);
  const brightness = Array.from(
    { length: 1024 },
    (_, pixel) => data[pixel * 4] + data[pixel * 4 + 1] + data[pixel * 4 + 2],
  );
  return {
    duration_s: Number(video.duration.toFixed(3)),
    width: video.videoWidth,
    height: video.videoHeight,
    advanced_s: Number(advanced.toFixed(3)),
    muted: video.muted,
    painted: Math.max(...brightness) - Math.min(...brightness) > 48,
  };
}

/**
 * Whether a `<video>` can be heard, twice: `decoded` from its file at `path`, `played` from what
 * the element puts out over one round.
 */
export async function audibility(video, path) {
  const level = (parts) => {
    let sum = 0;
    let peak = 0;
    let samples = 0;
    for (const part of parts) {
      for (const sample of part) {
        sum += sample * sample;
        peak = Math.max(peak, Math.abs(sample));
      }
      samples += part.length;
    }
    return { rms: Number(Math.sqrt(sum / Math.max(1, samples)).toFixed(5)), peak: Number(peak.toFixed(5)) };
  };
  const context = new AudioContext();
  await context.resume();
  const authorization = `Bearer ${localStorage.getItem("kinora.token")}`;
  const bytes = await (await fetch(path, { headers: { authorization } })).arrayBuffer();
  const size = bytes.byteLength;
  const text = new TextDecoder("latin1").decode(bytes);
  const buffer = await context.decodeAudioData(bytes);
  const decoded = level(
    Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel)),
  );

  video.muted = false;
  video.currentTime = 0;
  await video.play();
  const analyser = context.createAnalyser();
  analyser.fftSize = 2048;
  context.createMediaStreamSource(video.captureStream()).connect(analyser);
  const heard = [];
  const until = performance.now() + buffer.duration * 1000;
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    const part = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(part);
    heard.push(part);
  }
  await context.close();
  return {
    bytes: size,
    has_c2pa_manifest: text.includes("c2pa"),
    duration_s: Number(buffer.duration.toFixed(3)),
    sample_rate_hz: buffer.sampleRate,
    channels: buffer.numberOfChannels,
    decoded,
    played: level(heard),
  };
}

/** A drawn portrait as a PNG, in base64. */
export async function likeness() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 256;
  const brush = canvas.getContext("2d");
  const disc = (colour, x, y, radius) => {
    brush.fillStyle = colour;
    brush.beginPath();
    brush.arc(x, y, radius, 0, 2 * Math.PI);
    brush.fill();
  };
  brush.fillStyle = "#9fc4d8";
  brush.fillRect(0, 0, 256, 256);
  disc("#3a2a22", 128, 108, 86);
  disc("#e3b48f", 128, 126, 74);
  disc("#22252b", 102, 116, 9);
  disc("#22252b", 154, 116, 9);
  disc("#b5584a", 128, 162, 16);
  return canvas.toDataURL("image/png").split(",")[1];
}
