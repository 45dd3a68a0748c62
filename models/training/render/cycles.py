"""Renders parts with Blender's Cycles, on one thread."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from render.camera import Camera
from render.materials import Material
from render.mesh import Part


@contextlib.contextmanager
def _quiet():
    """Blender prints to the process's own stdout and stderr."""
    sys.stdout.flush()
    kept = [os.dup(1), os.dup(2)]
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        yield
    finally:
        for number, old in enumerate(kept, 1):
            os.dup2(old, number)
            os.close(old)
        os.close(sink)


with _quiet():
    import bpy


class Renderer:
    """One Blender, used for one scene after another."""

    def __init__(self) -> None:
        with _quiet():
            bpy.ops.wm.read_factory_settings(use_empty=True)
        self.folder = tempfile.TemporaryDirectory(prefix="relance-render-")
        self.file = Path(self.folder.name) / "picture.exr"
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        scene.render.threads_mode, scene.render.threads = "FIXED", 1
        scene.render.use_compositing = scene.render.use_sequencer = False
        scene.render.image_settings.file_format = "OPEN_EXR"
        scene.render.image_settings.color_depth = "32"
        scene.render.image_settings.exr_codec = "NONE"
        scene.render.filepath = str(self.file)
        cycles = scene.cycles
        cycles.device, cycles.use_adaptive_sampling = "CPU", False
        cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
        cycles.denoising_quality, cycles.denoising_prefilter = "FAST", "FAST"
        cycles.max_bounces, cycles.transmission_bounces, cycles.transparent_max_bounces = 10, 10, 10
        cycles.diffuse_bounces, cycles.glossy_bounces = 1, 3
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.sample_clamp_indirect, cycles.blur_glossy = 4.0, 1.0
        cycles.use_light_tree = False
        cycles.sampling_pattern = "BLUE_NOISE"
        cycles.use_auto_tile = False
        cycles.filter_width = 1.3

    def picture(self, parts: list[Part], camera: Camera, light: np.ndarray, flash: float, seed: int,
                samples: int, scale: float = 1.0) -> np.ndarray:
        """Linear light, height x width x 3, of this many rays a pixel."""
        scene = bpy.context.scene
        try:
            for number, part in enumerate(parts):
                _add(part, number)
            _look(camera, scene)
            _surround(light, scene)
            if flash:
                _flash(camera, flash)
            width, height = round(camera.width * scale), round(camera.height * scale)
            scene.render.resolution_x, scene.render.resolution_y = width, height
            scene.cycles.seed, scene.cycles.samples = seed % 2**31, samples
            with _quiet():
                bpy.ops.render.render(write_still=True)
            picture = bpy.data.images.load(str(self.file))
            pixels = np.empty(width * height * 4, np.float32)
            picture.pixels.foreach_get(pixels)
            return np.nan_to_num(pixels.reshape(height, width, 4)[::-1, :, :3]).astype(np.float32)
        finally:
            _clear()


def _clear() -> None:
    data = bpy.data
    for kind in (data.objects, data.meshes, data.materials, data.worlds, data.cameras, data.lights):
        data.batch_remove(list(kind))
    data.batch_remove([i for i in data.images if i.type != "RENDER_RESULT"])


def _image(pixels: np.ndarray):
    height, width, _ = pixels.shape
    image = bpy.data.images.new("t", width, height, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    full = np.ones((height, width, 4), np.float32)
    full[..., :3] = pixels[::-1]
    image.pixels.foreach_set(full.ravel())
    return image


def _add(part: Part, number: int) -> None:
    mesh, source = bpy.data.meshes.new(f"m{number}"), part.mesh
    count = len(source.quads)
    mesh.vertices.add(len(source.points))
    mesh.vertices.foreach_set("co", source.points.astype(np.float32).ravel())
    mesh.loops.add(4 * count)
    mesh.loops.foreach_set("vertex_index", source.quads.astype(np.int32).ravel())
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 4 * count, 4, dtype=np.int32))
    if part.material.texture is not None and source.uv is not None:
        layer = mesh.uv_layers.new(name="uv")
        layer.data.foreach_set("uv", source.uv[source.quads.ravel()].astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.polygons.foreach_set("use_smooth", np.full(count, source.smooth))
    mesh.materials.append(_material(part.material))
    bpy.context.scene.collection.objects.link(bpy.data.objects.new(f"o{number}", mesh))


def _material(source: Material):
    material = bpy.data.materials.new("m")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    new, link = tree.nodes.new, tree.links.new
    out = new("ShaderNodeOutputMaterial")
    colour = (*source.colour, 1.0)
    if source.kind == "glass":
        body, through, rays, mix = (new(f"ShaderNode{n}") for n in ("BsdfGlass", "BsdfTransparent", "LightPath", "MixShader"))
        # each ray meets a wall's two faces
        face = tuple(c**0.5 for c in source.colour)
        body.inputs["Color"].default_value = (*face, 1.0)
        body.inputs["Roughness"].default_value = source.roughness
        body.inputs["IOR"].default_value = source.ior
        through.inputs["Color"].default_value = (*(0.92 * c for c in face), 1.0)
        link(rays.outputs["Is Shadow Ray"], mix.inputs[0])
        link(body.outputs[0], mix.inputs[1])
        link(through.outputs[0], mix.inputs[2])
        link(mix.outputs[0], out.inputs["Surface"])
        return material
    body = new("ShaderNodeBsdfPrincipled")
    body.inputs["Base Color"].default_value = colour
    body.inputs["Roughness"].default_value = source.roughness
    body.inputs["Metallic"].default_value = 1.0 if source.kind == "metal" else 0.0
    if source.texture is not None:
        texture = new("ShaderNodeTexImage")
        texture.image = _image(source.texture)
        texture.extension = "MIRROR"
        link(texture.outputs["Color"], body.inputs["Base Color"])
    if source.kind == "milky":
        behind, mix = new("ShaderNodeBsdfTranslucent"), new("ShaderNodeMixShader")
        behind.inputs["Color"].default_value = colour
        mix.inputs[0].default_value = 0.45
        link(body.outputs[0], mix.inputs[1])
        link(behind.outputs[0], mix.inputs[2])
        link(mix.outputs[0], out.inputs["Surface"])
    else:
        link(body.outputs[0], out.inputs["Surface"])
    return material


def _look(camera: Camera, scene) -> None:
    data = bpy.data.cameras.new("c")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", 36.0
    data.lens = 18.0 * camera.lens
    data.clip_start, data.clip_end = 0.1, 5000
    if camera.aperture > 0:
        data.dof.use_dof = True
        data.dof.focus_distance = camera.focus
        data.dof.aperture_fstop = max(data.lens * 1e-3 / (2 * camera.aperture), 1e-4)
    thing = bpy.data.objects.new("c", data)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = camera.axes, camera.position
    thing.matrix_world = matrix.T.tolist()  # column by column
    scene.collection.objects.link(thing)
    scene.camera = thing


def _surround(light: np.ndarray, scene) -> None:
    world = bpy.data.worlds.new("w")
    world.use_nodes = True
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 256
    texture = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = _image(light)
    world.node_tree.links.new(texture.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    scene.world = world


def _flash(camera: Camera, strength: float) -> None:
    data = bpy.data.lights.new("f", "POINT")
    data.energy = strength * 40.0 * camera.focus**2
    data.shadow_soft_size = 0.6
    thing = bpy.data.objects.new("f", data)
    thing.location = (camera.position + camera.axes @ [2.0, 5.0, 0.0]).tolist()
    bpy.context.scene.collection.objects.link(thing)
