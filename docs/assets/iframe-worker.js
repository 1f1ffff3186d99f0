// Browsers start no Worker from file://. There, the theme's search runs in a hidden frame instead, as the theme expects:
// it looks for `parent.IFrameWorker`.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      const script = inside.document.createElement("script")
      this.ready = new Promise(resolve => script.addEventListener("load", () => resolve(inside)))
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}))
      script.src = url
      inside.document.body.append(script)
    }
    async postMessage(data) {
      const inside = await this.ready
      inside.dispatchEvent(new MessageEvent("message", {data}))
    }
  }
}
