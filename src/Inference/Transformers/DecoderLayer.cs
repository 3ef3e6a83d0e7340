namespace KernelGen.Inference.Transformers;

/// <summary>One decoder layer: weights, and the order of the operations on the residual stream.</summary>
internal sealed class DecoderLayer : IDisposable
{
    private readonly DecoderLayerDescription _description;
    private readonly Norm _attentionNorm;
    private readonly LinearLayer[] _projections;
    private readonly LinearLayer _output;
    private readonly Norm _mlpNorm;
    private readonly LinearLayer? _gate;
    private readonly LinearLayer _up;
    private readonly LinearLayer _down;

    public DecoderLayer(DecoderLayerDescription description, CheckpointTensors tensors, LinearLayerFactory linear)
    {
        (AttentionDescription attention, MlpDescription mlp) = (description.Attention, description.Mlp);
        _description = description;
        _attentionNorm = tensors.Norm(description.AttentionNorm);
        _projections = [.. attention.Projections.LinearLayers.Select(projection => tensors.Linear(projection, linear))];
        _output = tensors.Linear(attention.Output, linear);
        _mlpNorm = tensors.Norm(description.MlpNorm);
        _gate = mlp.Gate is null ? null : tensors.Linear(mlp.Gate, linear);
        _up = tensors.Linear(mlp.Up, linear);
        _down = tensors.Linear(mlp.Down, linear);
    }

    public long Bytes => _attentionNorm.Bytes + _mlpNorm.Bytes + LinearBytes;

    public long LinearBytes => LinearLayers.Sum(linear => linear.Bytes);

    private IEnumerable<LinearLayer> LinearLayers => [.. _projections, _output, .. (LinearLayer[])(_gate is null ? [] : [_gate]), _up, _down];

    public void Dispose()
    {
        foreach (LinearLayer linear in LinearLayers)
        {
            linear.Dispose();
        }
    }

    /// <summary>Runs the layer on <see cref="DecoderPass.Hidden"/>, in place.</summary>
    public void Forward(DecoderPass pass, int layer)
    {
        float[] input = BranchInput(_attentionNorm, pass);
        for (int i = 0; i < _projections.Length; i++)
        {
            pass.Apply(_projections[i], input, pass.Projected[i]);
        }

        pass.Attend(layer, _description.Attention);
        pass.Apply(_output, pass.Attended, pass.Branch);
        if (_description.Residual == ResidualForm.Parallel)
        {
            // The MLP's input is the stream before attention is added.
            input = BranchInput(_mlpNorm, pass);
            JoinBranch(_attentionNorm, pass);
        }
        else
        {
            JoinBranch(_attentionNorm, pass);
            input = BranchInput(_mlpNorm, pass);
        }

        pass.Apply(_up, input, pass.Inner);
        if (_gate is null)
        {
            pass.Activate(_description.Mlp.Activation, pass.Inner, _up.OutputFeatures);
        }
        else
        {
            pass.Apply(_gate, input, pass.Gate!);
            pass.ActivateGate(_description.Mlp.Activation, pass.Gate!, pass.Inner, _up.OutputFeatures);
        }

        pass.Apply(_down, pass.Inner, pass.Branch);
        JoinBranch(_mlpNorm, pass);
    }

    private float[] BranchInput(Norm norm, DecoderPass pass) => _description.Residual switch
    {
        ResidualForm.PostNorm => pass.Hidden,
        ResidualForm.PreNormReplacing => pass.Normalize(norm, pass.Hidden, pass.Hidden),
        _ => pass.Normalize(norm, pass.Hidden, pass.Normed),
    };

    private void JoinBranch(Norm norm, DecoderPass pass) =>
        pass.AddToHidden(pass.Branch, _description.Residual == ResidualForm.PostNorm ? norm : null);
}
