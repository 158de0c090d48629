class TransformerUnit(nn.Module):
    """Self-attention and two linear layers on all pixels, each after layer normalization and with a skip connection."""

    def __init__(self, before, after, stride):
        super().__init__()
        assert before == after and stride == 1
        if after % 64 == 0:
            self.heads = after // 64
        else:
            self.heads = max(heads for heads in (1, 2, 3) if after % heads == 0)
        self.norm1 = nn.LayerNorm(after, eps=1e-6)
        self.qkv = nn.Linear(after, 3 * after)
        self.proj = nn.Linear(after, after)
        self.norm2 = nn.LayerNorm(after, eps=1e-6)
        self.linear1 = nn.Linear(after, 4 * after)
        self.linear2 = nn.Linear(4 * after, after)

    def forward(self, x):
        height, width = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        parts = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(attended.transpose(1, 2).flatten(2))
        tokens = tokens + self.linear2(functional.gelu(self.linear1(self.norm2(tokens))))
        return tokens.transpose(1, 2).unflatten(2, (height, width))
