"""Digits: 8x8 grey images of handwritten digits that come with scikit-learn, for quick tests.

1,797 images with pixels from 0 to 16; 1,437 to train on and 360 to test on, stratified.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository (1998), https://doi.org/10.24432/C50P49; `sklearn.datasets.load_digits`.
"""

from __future__ import annotations

from typing import ClassVar

from rheobase.tasks.images import ImageClassification, LabelledImages


class Digits(ImageClassification):
    """Handwritten digits, 8x8 pixels, 10 classes.

    >>> splits = Digits(validation=0.1).splits()
    >>> len(splits.train), len(splits.validation), len(splits.test)
    (1293, 144, 360)
    >>> splits.test.whole().inputs.shape
    torch.Size([360, 1, 8, 8])
    """

    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    input_shape: ClassVar[tuple[int, ...]] = (1, 8, 8)
    white: ClassVar[float] = 16.0

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Training and test images."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        return LabelledImages(digits.images, digits.target, "scikit-learn's digits").hold_out(360, seed=0)
