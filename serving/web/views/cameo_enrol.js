// Enrolling a likeness: a picture from a file or the camera, a name, and consent in the person's
// own words.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { busy, complain } from "../notices.js";

const MOST_BYTES = 5 * 1024 * 1024;
const SIDE = 512;
const STATEMENT =
  "This is a picture of me. I consent to clips being generated with my likeness by the people I allow, and I know that I can take this back at any time.";

/** The form; `onenrolled` is called when the server has the cameo. */
export function enrolForm({ signal, onenrolled }) {
  let chosen = null;
  let stream = null;

  const frame = h("div", { class: "likeness__frame" }, icon("cameo"));
  const file = h("input", {
    type: "file",
    accept: "image/png,image/jpeg",
    "aria-label": "Choose a picture",
    testid: "cameo-file",
    onchange: () => choose(file.files[0]),
  });
  const camera = h(
    "button",
    { class: "button button--quiet button--small", type: "button", onclick: openCamera },
    icon("camera"),
    "Use the camera",
  );
  const name = h("input", {
    class: "input",
    id: "cameo-name",
    required: true,
    maxlength: 60,
    placeholder: "What should it be called?",
    testid: "cameo-name",
  });
  const statement = h("textarea", {
    class: "input",
    id: "cameo-statement",
    required: true,
    minlength: 20,
    maxlength: 1000,
    value: STATEMENT,
    testid: "cameo-statement",
  });
  const attested = h("input", { type: "checkbox", required: true, testid: "cameo-attest" });
  const submit = h("button", { class: "button button--primary", testid: "cameo-enrol" }, "Enrol my cameo");
  signal.addEventListener("abort", closeCamera);

  return h(
    "form",
    { class: "card", testid: "enrol", onsubmit: enrol },
    h("h2", {}, "Enrol a cameo"),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "likeness" },
        frame,
        h(
          "div",
          { class: "actions" },
          h(
            "label",
            { class: "button button--quiet button--small file" },
            icon("image"),
            "Choose a picture",
            file,
          ),
          camera,
        ),
        h(
          "p",
          { class: "hint" },
          "PNG or JPEG, your face in the middle. Only a small likeness is kept, encrypted with a key of its own.",
        ),
      ),
      h(
        "div",
        { class: "stack" },
        h("div", { class: "field" }, h("label", { class: "field__label", for: "cameo-name" }, "Name"), name),
        h(
          "div",
          { class: "field" },
          h("label", { class: "field__label", for: "cameo-statement" }, "Your consent, in your words"),
          statement,
        ),
        h(
          "label",
          { class: "tick" },
          attested,
          h("span", {}, "I am the person in this picture, and I mean the statement above."),
        ),
        h("div", { class: "actions" }, submit),
      ),
    ),
  );

  function choose(blob) {
    if (!blob) return;
    if (blob.size > MOST_BYTES) {
      complain({ detail: "That picture is larger than 5 MB. Choose a smaller one." });
      return;
    }
    closeCamera();
    chosen = blob;
    const address = URL.createObjectURL(blob);
    const image = h("img", { src: address, alt: "Your picture" });
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    frame.classList.add("likeness__frame--filled");
    fill(frame, image);
  }

  async function openCamera() {
    if (stream) {
      takePicture();
      return;
    }
    camera.disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "user", width: SIDE, height: SIDE },
      });
    } catch {
      complain({ detail: "The camera cannot be used. Choose a picture instead." });
      return;
    } finally {
      camera.disabled = false;
    }
    if (signal.aborted) {
      // The view was left while the browser asked for permission.
      closeCamera();
      return;
    }
    const video = h("video", { autoplay: true, playsinline: true, muted: true });
    video.srcObject = stream;
    fill(frame, video);
    fill(camera, icon("camera"), "Take the picture");
  }

  function takePicture() {
    const video = frame.querySelector("video");
    const side = Math.min(video.videoWidth, video.videoHeight);
    const canvas = h("canvas", { width: SIDE, height: SIDE });
    canvas
      .getContext("2d")
      .drawImage(
        video,
        (video.videoWidth - side) / 2,
        (video.videoHeight - side) / 2,
        side,
        side,
        0,
        0,
        SIDE,
        SIDE,
      );
    canvas.toBlob((blob) => choose(blob), "image/jpeg", 0.92);
  }

  function closeCamera() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    fill(camera, icon("camera"), "Use the camera");
  }

  async function enrol(event) {
    event.preventDefault();
    if (!chosen) {
      complain({ detail: "Choose a picture of yourself first." });
      return;
    }
    const form = new FormData();
    form.set("name", name.value.trim());
    form.set("statement", statement.value.trim());
    form.set("attested", String(attested.checked));
    form.set("picture", chosen, chosen.type === "image/png" ? "picture.png" : "picture.jpg");
    if (await busy(submit, () => api.enrolCameo(form))) onenrolled();
  }
}
