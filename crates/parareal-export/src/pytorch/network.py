class Coarse(nn.Module):
    """A coarse network F_j."""

    def __init__(self, units):
        super().__init__()
        self.units = nn.ModuleList(unit(*arguments) for unit, *arguments in units)

    def forward(self, x):
        for unit in self.units:
            x = unit(x)
        return x


class Interface(nn.Module):
    """The modules of a cut: the preprocessing of the next subnetwork, and the coarse network."""

    def __init__(self, preprocessing, coarse):
        super().__init__()
        module, *arguments = preprocessing
        self.preprocessing = module(*arguments)
        self.coarse = Coarse(coarse)


class Network(nn.Module):
    """The parareal network, in the form of a chain: U_{j+1} = g_{j+1}(x_{j+1}) + F_j(U_j - x_{j+1})."""

    def __init__(self):
        super().__init__()
        module, *arguments = PREPROCESSING
        self.preprocessing = module(*arguments)
        self.units = nn.ModuleList(unit(*arguments) for unit, *arguments in UNITS)
        interfaces = enumerate(INTERFACES, start=1)
        self.interfaces = nn.ModuleDict({str(j): Interface(*modules) for j, modules in interfaces})
        module, *arguments = POSTPROCESSING
        self.postprocessing = module(*arguments)

    def fine(self, x, first, last):
        """Applies the units of a subnetwork."""
        for unit in self.units[first:last]:
            x = unit(x)
        return x

    def forward(self, images):
        """Maps normalized images [batch, channels, height, width] to scores [batch, classes]."""
        ends = [*CUTS, len(self.units)]
        state = self.fine(self.preprocessing(images), 0, ends[0])
        for interface, first, last in zip(self.interfaces.values(), ends, ends[1:]):
            start = interface.preprocessing(images)
            state = self.fine(start, first, last) + interface.coarse(state - start)
        return self.postprocessing(state)


def load(weights=pathlib.Path(__file__).with_name("model.safetensors")):
    """Returns the network with its weights, in evaluation mode."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(weights), strict=True)
    return network.eval()


def normalize(images):
    """Normalizes images [batch, channels, height, width] with values from 0 to 1."""
    mean, deviation = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (MEAN, DEVIATION))
    return (images - mean.to(images.device)) / deviation.to(images.device)


def read(path):
    """Reads an image file as [channels, height, width] with values from 0 to 1, in the size of the network.

    Larger images than 32x32 pixels are resized to 256/224 of the size and cropped in the middle, others are stretched. The
    pixels of a stretched image may differ from those of `parareal predict` by rounding.
    """
    import numpy
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path)).convert("L" if CHANNELS == 1 else "RGB")
    inner = IMAGE_SIZE - 2 * PADDING
    if IMAGE_SIZE > 32:
        shorter, size = round(IMAGE_SIZE * 256 / 224), min(image.size)
        image = image.resize([shorter * side // size for side in image.size], Image.Resampling.BILINEAR)
        left, top = (round((side - IMAGE_SIZE) / 2) for side in image.size)
        image = image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE))
    elif image.size != (inner, inner):
        image = image.resize((inner, inner), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(numpy.array(image, dtype=numpy.float32) / 255)
    pixels = pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)
    return functional.pad(pixels, [PADDING] * 4)


def main():
    parser = argparse.ArgumentParser(description="Classifies image files.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    network = load()
    for path in parser.parse_args().images:
        with torch.no_grad():
            probabilities = network(normalize(read(path)[None])).softmax(dim=1)[0]
        best = probabilities.topk(min(5, len(CLASS_NAMES)))
        answers = (f"{CLASS_NAMES[c]} {100 * p:.1f} %" for p, c in zip(best.values.tolist(), best.indices.tolist()))
        print(f"{path}: {', '.join(answers)}")


if __name__ == "__main__":
    main()
