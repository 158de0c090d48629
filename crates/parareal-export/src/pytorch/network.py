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


WEIGHTS = pathlib.Path(__file__).with_name("model.safetensors")


def load(weights=WEIGHTS):
    """Returns the network with its weights, in evaluation mode."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(weights), strict=True)
    return network.eval()


def save(network, weights):
    """Writes the weights of the network with the metadata of model.safetensors, so that `parareal` can read the file."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights, metadata)


def normalize(images):
    """Normalizes images [batch, channels, height, width] with values from 0 to 1."""
    mean, deviation = (torch.tensor(values).reshape(1, -1, 1, 1).to(images) for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def read(path):
    """Reads an image file as [channels, height, width] with values from 0 to 1, in the size of the network.

    A network for images of more than 32x32 pixels gets the middle of the image, after its shorter side has been resized to
    256/224 of the size. Other networks get the whole image, stretched to the size inside the border; its pixels may differ from
    those of `parareal predict` by rounding.
    """
    import numpy
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I;16"):
        # Pillow would cut off values above 255.
        image = Image.fromarray(((numpy.array(image, dtype=numpy.uint32) + 128) // 257).astype(numpy.uint8))
    image = image.convert("L" if CHANNELS == 1 else "RGB")
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
    paths = parser.parse_args().images
    if not WEIGHTS.is_file():
        parser.error(f"{WEIGHTS} not found")
    network, failed = load(), False
    for path in paths:
        try:
            image = read(path)
        except OSError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
            continue
        with torch.no_grad():
            probabilities = network(normalize(image[None])).softmax(dim=1)[0]
        best = probabilities.topk(min(5, len(CLASS_NAMES)))
        answers = (f"{CLASS_NAMES[c]} {100 * p:.1f} %" for p, c in zip(best.values.tolist(), best.indices.tolist()))
        print(f"{path}: {', '.join(answers)}")
    sys.exit(2 if failed else 0)


if __name__ == "__main__":
    main()
