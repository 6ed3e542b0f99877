/**
 * Draws an X-ray of any depth with a heatmap over it, by WebGL 2.
 *
 * Two passes: the first brings the image through zoom and window into a buffer of the canvas's size and runs only
 * when those change; the second lays the heatmap over it. So opacity, colours and on/off cost one cheap pass. As long
 * as there is no heatmap the first draws on the canvas itself, and the second's program is not compiled.
 */
import { type ColorMap, lookup } from "./colormaps";
import type { Pixels, Window } from "./pixels";

/** Image pixel at the middle of the pane, and CSS pixels per image pixel. */
type View = { x: number; y: number; scale: number };
export type Split = "single" | "side" | "swipe";

/** What to draw of one image. */
export type Drawing = {
  view: View;
  window: Window;
  invert: boolean;
  heat: boolean;
  opacity: number;
  colorMap: ColorMap;
  split: Split;
  /** Where the swipe's line is, 0 (left) to 1. */
  swipe: number;
};

const CORNERS = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3. : -1., gl_VertexID == 2 ? 3. : -1., 0., 1.); }`;

const GREY = `#version 300 es
precision highp float; precision highp int; precision highp usampler2D;
uniform usampler2D image; uniform vec2 origin, size; uniform float pixelStep, black, range; uniform int level; uniform bool invert;
out vec4 colour;
float texel(ivec2 p, ivec2 last) { return float(texelFetch(image, clamp(p, ivec2(0), last), level).r); }
void main() {
  vec2 at = origin + gl_FragCoord.xy * vec2(pixelStep, -pixelStep);
  if (any(lessThan(at, vec2(0))) || any(greaterThanEqual(at, size))) { colour = vec4(0); return; }
  ivec2 last = textureSize(image, level) - 1;
  vec2 p = at / size * vec2(last + 1) - .5, f = fract(p); ivec2 i = ivec2(floor(p));
  float v = mix(mix(texel(i, last), texel(i + ivec2(1, 0), last), f.x),
                mix(texel(i + ivec2(0, 1), last), texel(i + ivec2(1, 1), last), f.x), f.y);
  float grey = clamp((v - black) / range, 0., 1.);
  colour = vec4(vec3(invert ? 1. - grey : grey), 1);
}`;

const OVERLAY = `#version 300 es
precision highp float;
uniform sampler2D grey, heat, colours; uniform vec2 origin, size, pane; uniform float pixelStep, opacity, from; uniform int mode;
out vec4 colour;
void main() {
  vec2 here = gl_FragCoord.xy - pane;
  vec4 base = texelFetch(grey, ivec2(here), 0);
  vec2 uv = (origin + here * vec2(pixelStep, -pixelStep)) / size;
  float h = texture(heat, uv).r;
  vec3 hot = texture(colours, vec2(h, .5)).rgb;
  float share = opacity * h;
  if (mode == 0 || here.x < from) share = 0.;
  colour = vec4(mix(base.rgb, hot, share * base.a), 1);
}`;

export class Renderer {
  private readonly gl: WebGL2RenderingContext;
  private readonly grey: Program;
  private overlay: Program | undefined;
  private image: WebGLTexture;
  private readonly heat: WebGLTexture;
  private readonly colours: WebGLTexture;
  private readonly target: WebGLTexture;
  private readonly buffer: WebGLFramebuffer;
  private pixels: Pixels | null = null;
  private first = 0;
  private drawn = "";
  private shownColours = "";
  private heatReady = false;

  /** Throws Error where the browser has no WebGL 2. */
  constructor(private readonly canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl2", {
      alpha: false,
      antialias: false,
      powerPreference: "high-performance",
    });
    if (!gl) throw new Error("This browser does not support WebGL 2.");
    this.gl = gl;
    this.grey = new Program(gl, GREY);
    this.image = gl.createTexture();
    this.heat = this.smooth();
    this.colours = this.smooth();
    this.target = this.smooth();
    this.buffer = gl.createFramebuffer();
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.clearHeat();
  }

  setImage(pixels: Pixels): void {
    const { gl } = this;
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
    this.first = pixels.levels.findIndex(({ width, height }) => Math.max(width, height) <= most);
    const levels = pixels.levels.slice(this.first);
    const [{ width, height }] = levels as [Pixels["levels"][0]];
    gl.deleteTexture(this.image);
    this.image = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.image);
    gl.texStorage2D(gl.TEXTURE_2D, levels.length, gl.R16UI, width, height);
    levels.forEach((level, i) => {
      const format = [gl.RED_INTEGER, gl.UNSIGNED_SHORT] as const;
      gl.texSubImage2D(gl.TEXTURE_2D, i, 0, 0, level.width, level.height, ...format, level.data);
    });
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST_MIPMAP_NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.pixels = pixels;
    this.drawn = "";
  }

  /** How hot each place is, 0 to 255, on a grid of its own that spans the whole image. */
  setHeat(heat: { width: number; height: number; data: Uint8Array }): void {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.heat);
    const { width, height, data } = heat;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE, data);
    this.heatReady = true;
  }

  clearHeat(): void {
    this.setHeat({ width: 1, height: 1, data: new Uint8Array(1) });
    this.heatReady = false;
  }

  draw(drawing: Drawing): void {
    const { canvas, pixels } = this;
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!pixels || !width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const paneWidth = drawing.split === "side" ? Math.floor(width / 2) : width;
    const { view } = drawing;
    const pixelStep = 1 / (view.scale * ratio);
    const origin = [view.x - (paneWidth / 2) * pixelStep, view.y + (height / 2) * pixelStep] as const;
    const [{ width: w, height: h }] = pixels.levels as [Pixels["levels"][0]];
    const place = { origin, size: [w, h] as const, pixelStep };
    const mode = drawing.heat && this.heatReady ? 1 : 0;
    const panes = drawing.split === "side" ? [0, mode] : [mode];
    if (panes.length === 1 && !mode) this.drawGrey(drawing, place, [width, height], null);
    else this.drawPanes(drawing, place, panes, [paneWidth, height]);
  }

  /** Free the graphics memory. */
  dispose(): void {
    const { gl } = this;
    for (const texture of [this.image, this.heat, this.colours, this.target]) gl.deleteTexture(texture);
    gl.deleteFramebuffer(this.buffer);
  }

  /** Panes side by side, with the heatmap where the mode is 1. */
  private drawPanes(drawing: Drawing, place: Place, modes: number[], [width, height]: Size): void {
    const { gl } = this;
    this.overlay ??= new Program(gl, OVERLAY);
    this.fillBuffer(drawing, place, [width, height]);
    if (this.shownColours !== drawing.colorMap) this.setColours(drawing.colorMap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    const { opacity } = drawing;
    const from = drawing.split === "swipe" ? drawing.swipe * width : 0;
    for (const [i, mode] of modes.entries()) {
      gl.viewport(i * width, 0, width, height);
      this.bind([this.target, this.heat, this.colours]);
      const pane = [i * width, 0] as const;
      this.overlay.run({ ...place, pane, opacity, from }, { grey: 0, heat: 1, colours: 2, mode });
    }
  }

  private fillBuffer(drawing: Drawing, place: Place, [width, height]: Size): void {
    const { gl } = this;
    const done = JSON.stringify([drawing.view, drawing.window, drawing.invert, width, height]);
    if (done === this.drawn) return;
    this.drawn = done;
    gl.bindTexture(gl.TEXTURE_2D, this.target);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.buffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.target, 0);
    this.drawGrey(drawing, place, [width, height], this.buffer);
  }

  private drawGrey(
    drawing: Drawing,
    place: Place,
    [width, height]: Size,
    into: WebGLFramebuffer | null,
  ): void {
    const { gl, pixels } = this;
    if (!pixels) return;
    gl.bindFramebuffer(gl.FRAMEBUFFER, into);
    gl.viewport(0, 0, width, height);
    const deepest = pixels.levels.length - 1 - this.first;
    const level = Math.min(Math.max(Math.floor(Math.log2(place.pixelStep) + 0.4) - this.first, 0), deepest);
    const black = (drawing.window.center - drawing.window.width / 2 - pixels.intercept) / pixels.slope;
    this.bind([this.image]);
    const range = Math.max(drawing.window.width / pixels.slope, 1e-6);
    this.grey.run(
      { ...place, black, range },
      { image: 0, level, invert: drawing.invert !== pixels.inverse ? 1 : 0 },
    );
  }

  private bind(textures: WebGLTexture[]): void {
    const { gl } = this;
    textures.forEach((texture, i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.activeTexture(gl.TEXTURE0);
  }

  private setColours(name: ColorMap): void {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, lookup(name));
    this.shownColours = name;
  }

  private smooth(): WebGLTexture {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
    }
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    }
    return texture;
  }
}

type Size = readonly [width: number, height: number];
type Place = { origin: readonly [number, number]; size: readonly [number, number]; pixelStep: number };

class Program {
  private readonly program: WebGLProgram;
  private readonly places = new Map<string, WebGLUniformLocation | null>();

  constructor(
    private readonly gl: WebGL2RenderingContext,
    fragment: string,
  ) {
    this.program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, CORNERS],
      [gl.FRAGMENT_SHADER, fragment],
    ] as const) {
      const shader = gl.createShader(kind);
      if (!shader) throw new Error("WebGL was lost.");
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) {
      throw new Error(gl.getProgramInfoLog(this.program) || "The graphics driver refused a shader.");
    }
  }

  run(floats: Record<string, number | readonly [number, number]>, integers: Record<string, number>): void {
    const { gl } = this;
    gl.useProgram(this.program);
    for (const [name, value] of Object.entries(floats)) {
      if (typeof value === "number") gl.uniform1f(this.place(name), value);
      else gl.uniform2f(this.place(name), ...value);
    }
    for (const [name, value] of Object.entries(integers)) gl.uniform1i(this.place(name), value);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  private place(name: string): WebGLUniformLocation | null {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.program, name));
    return this.places.get(name) ?? null;
  }
}
