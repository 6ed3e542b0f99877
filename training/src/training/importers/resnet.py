"""ResNet-50 (He et al. 2016, arXiv 1512.03385) for grey images, with torchvision's layer names: TorchXRayVision's."""

import torch
from torch import Tensor, nn

STAGES = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides), 1x1 to four times the width, added to the input."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """float [N, c, h, w] -> [N, 4 * width, h / stride, w / stride]."""
        new = torch.relu(self.bn1(self.conv1(x)))
        new = torch.relu(self.bn2(self.conv2(new)))
        return torch.relu(self.bn3(self.conv3(new)) + self.downsample(x))


class ResNet50(nn.Module):
    """Grey image, float [N, 1, h, w] -> logits [N, classes]; `layer4` gives the final map after ReLU."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for number, blocks in enumerate(STAGES):
            width, strides = 64 << number, [1 if number == 0 else 2, *(1,) * (blocks - 1)]
            stage = [Bottleneck(channels if i == 0 else 4 * width, width, s) for i, s in enumerate(strides)]
            self.add_module(f"layer{number + 1}", nn.Sequential(*stage))
            channels = 4 * width
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for number in range(len(STAGES)):
            x = self.get_submodule(f"layer{number + 1}")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits
