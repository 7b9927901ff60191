"""Every field of a configuration, with its unit and meaning; the other configs override only what differs.

    python -m satxlate_jax train --config=configs/base_g16g17.py --workdir=RUN --config.data.dir=DATA

Any field can be overridden on the command line as --config.FIELD=VALUE. The values here are the published ones.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

ALL_BANDS = tuple(range(1, 17))


def ordered(**fields) -> ConfigDict:
    """A ConfigDict that keeps the order in which its keys were given (the order of satellites matters)."""
    return ConfigDict(fields, sort_keys=False)


def bands_without(band: str) -> tuple[int, ...]:
    """All 16 bands but one, which is given as the paper counts them: zero-based, 0 to 15."""
    if not band.isdigit() or int(band) not in range(16):
        raise ValueError(f"the configuration takes a zero-based band, 0 to 15, not {band}")
    return tuple(number for number in ALL_BANDS if number != int(band) + 1)


def _data() -> ConfigDict:
    """What to train on."""
    data = ConfigDict()
    data.dir = ""  # where `tfds build --data_dir` put the data; '' is tfds' own default
    # satellite -> its bands, 1-based as in BANDxx. A name may carry a label after '_' (H8_15: Himawari-8, 15 bands).
    data.satellites = ordered(G16=ALL_BANDS, G17=ALL_BANDS)
    data.datasets = ConfigDict()  # satellite -> its data set's builder config, where it has another name
    data.streams = ()  # satellites to draw batches from; () is all of them
    data.shared = ConfigDict()  # satellite -> satellite -> 0-based channels; empty: derived from the wavelengths
    data.shuffle_buffer = 2_048  # records of a satellite that are mixed at a time, about (whole shards); none in memory
    data.patch_size = 64  # pixels; must be that of the data set
    data.augment = False  # flip and rotate by 90 degrees at random, all bands alike; the release does not
    return data


def _objective() -> ConfigDict:
    """The losses and their weights."""
    objective = ConfigDict()
    objective.variant = "paper"  # 'paper' | 'released' (design: what the paper says | what its code computes)
    objective.gan_type = "lsgan"  # 'lsgan' | 'nsgan'
    objective.gan_w = 1.0  # weights of the terms
    objective.recon_x_w = 1.0  # own reconstruction
    objective.recon_shared_w = 0.1  # shared bands of a translation
    objective.recon_x_cyc_w = 1.0  # image after a cycle
    objective.recon_z_cyc_w = 1.0  # latent after a half cycle
    objective.recon_kl_w = 0.01  # mean square of the encodings, where they take noise ('paper' only)
    objective.recon_kl_cyc_w = 0.0  # mean square of the encodings of translations, likewise
    objective.recon_measured_w = 0.0  # image after a cycle through its own measured bands ('paper' only)
    objective.cycle_step = 100_000  # steps after which one more cycle is added
    objective.discriminator_fakes = "fresh"  # 'fresh': decoded anew, new noise | 'shared': the generator step's
    return objective


def _generator() -> ConfigDict:
    """Encoders and decoders."""
    generator = ConfigDict()
    generator.family = "vae_gan"  # 'vae_gan' (as published) | 'spectral_flow' (the section flow; of this one no more)
    generator.dim = 64  # channels after the first convolution
    generator.n_downsample = 0  # halvings of the resolution in the encoder
    generator.n_res = 4  # residual blocks in each encoder and decoder
    generator.activation = "lrelu"  # relu | lrelu | prelu | selu | tanh | none
    generator.padding = "zero"  # zero | reflect | replicate
    # Source bands handed past the latent space to the decoder's last convolution: None, a number, a list, '5,7'.
    # In 'paper' 1-based bands of the first satellite, in the others by wavelength; in 'released' 0-based channels.
    generator.skip_connection = placeholder(object)
    # A learned 1 x 1 map from the source's to the target's bands around the network: 'none' | 'copy' | 'linear' |
    # 'quadratic'. It begins by copying shared bands, the last two with the others by regression on the target's images.
    generator.spectral_path = "none"
    # Hidden units in each of two layers of a small network per pixel on that path, fitted before training to what the
    # regression leaves of the bands that a satellite lacks: 0 or some 50.
    generator.spectral_hidden = 0
    return generator


def _flow() -> ConfigDict:
    """The spectral flow: a regression per pixel, and a network for the distribution of what that leaves."""
    flow = ConfigDict()
    flow.width = 24  # channels of the network
    flow.blocks = 1  # residual blocks
    flow.levels = 5  # of the wavelet: the coarsest coefficients are 2**levels pixels wide
    flow.degree = 3  # of the regression on up to six given channels; 2 on more
    flow.ridge = 1e-2  # penalty of the regression, of features of unit variance; a hundredth for reflective channels
    # the network's mean at the coarsest level: 'auto' as far as it helps on blocks left out | 'base' none | 'free' all
    flow.coarse = "auto"
    flow.members = 1  # networks from as many seeds, trained side by side; their spread adds to the standard deviation
    flow.solar = True  # add sunlight at 3.9 um by physics, where 2.25 um tells the reflectance
    flow.adapters = True  # double differences between instruments whose responses differ (8.5 and 12.3 um)
    flow.surprise = True  # keep what measured bands are usually like: for --surprise, --repair, unseen satellites
    return flow


def _discriminator() -> ConfigDict:
    """The discriminators."""
    discriminator = ConfigDict()
    discriminator.dim = 64
    discriminator.n_layer = 2  # strided convolutions
    discriminator.norm = "none"  # none | in | ln | bn
    discriminator.activation = "lrelu"
    discriminator.padding = "reflect"
    discriminator.num_scales = 1  # copies of the network on ever coarser images
    return discriminator


def _optimizer() -> ConfigDict:
    """Adam, for both, and what is done to its gradients and steps."""
    optimizer = ConfigDict()
    # 'adam', with decays in steps | 'adamw' (decay of weights decoupled): a warm-up, then a cosine that reaches
    # decay_rate times the learning rate after decay_every steps
    optimizer.name = "adam"
    optimizer.warmup_steps = 0  # 'adamw' only
    optimizer.learning_rate = 1e-4
    optimizer.beta1 = 0.5
    optimizer.beta2 = 0.999
    optimizer.weight_decay = 1e-4  # L2, added to the gradient before Adam
    optimizer.decay_every = 25_000  # steps between decays of the generator's learning rate
    optimizer.decay_rate = 0.5
    optimizer.clip_norm = 0.0  # largest norm of a network's gradient, all its parameters together; 0 no limit
    optimizer.ema_decay = 0.0  # 0.999: keep a moving average of the generator, which translates; 0 none
    return optimizer


def get_config() -> ConfigDict:
    """The published two-satellite configuration, field by field."""
    config = ConfigDict()
    config.seed = 0  # of the initialisation, the noise and the order of the examples
    config.steps = 200_000  # training steps; one step is a generator update, then a discriminator update
    config.batch_size = 8  # patches per satellite and step, over all devices of all processes
    config.precision = "float32"  # 'float32' | 'bfloat16': the networks' arithmetic; parameters, losses stay float32
    config.remat = False  # compute activations again for the gradient: on accelerators less memory for more time
    config.normalization = "published"  # 'published' | 'dataset': mean and deviation that make bands comparable
    config.initialization = "gaussian"  # 'gaussian' (0.02) | 'kaiming' | 'xavier' | 'orthogonal' | 'default' (as torch)
    config.init_from = ""  # a run whose weights to start from, to add a satellite to it; '' starts from scratch
    config.freeze = ()  # regular expressions on paths such as 'generator/encoders/G16/'; what matches keeps its value

    config.log_every = 250  # steps between scalars in TensorBoard
    # each of the next three that is not 0 is also done after the last step
    config.image_every = 5_000  # steps between images; 0 never
    config.histogram_every = 5_000  # steps between histograms per band; 0 never
    config.validate_every = 5_000  # steps between scores on the validation split; 0 never
    config.validation_batches = 8  # batches that a validation looks at
    config.checkpoint_every = 5_000  # steps between checkpoints
    config.keep_last = 3  # newest checkpoints to keep
    config.keep_every = 0  # also keep every checkpoint whose step is a multiple of this; 0 none

    config.data = _data()
    config.objective = _objective()
    config.generator = _generator()
    config.flow = _flow()
    config.discriminator = _discriminator()
    config.optimizer = _optimizer()
    return config
